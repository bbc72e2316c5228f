#include "kv/kernel_check.h"

#include <gtest/gtest.h>

#include "testing/machine_kernels.h"

namespace infer::kv {
namespace {

TEST(KernelCheck, AllKernelsOfThisMachineWorkAndFewerBitsSayLess) {
  for (const kernels::KernelTable* const table : testing::machine_kernels()) {
    const KernelCheck check = check_kernels(*table);
    EXPECT_TRUE(check.works_16()) << table->name << " " << check.error_16;
    EXPECT_TRUE(check.works_8()) << table->name << " " << check.error_8;
    EXPECT_TRUE(check.works_4()) << table->name << " " << check.error_4;
    EXPECT_LT(check.error_16, check.error_8);
    EXPECT_LT(check.error_8, check.error_4);
  }
}

TEST(KernelCheck, PlanesThatGoWrongAreFound) {
  kernels::KernelTable broken = *testing::machine_kernels().front();
  broken.make_planes = [](const std::byte*, int, std::byte* high, std::byte* low) {
    high[0] = low[0] = std::byte{0};  // The rest stays as it was.
  };
  const KernelCheck check = check_kernels(broken);
  EXPECT_TRUE(check.works_16());
  EXPECT_FALSE(check.works_8());
  EXPECT_FALSE(check.works_4());
}

}  // namespace
}  // namespace infer::kv
