#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <vector>

#include "base/rng.h"
#include "kernels/kernel_table.h"
#include "testing/machine_kernels.h"

namespace infer::kernels {
namespace {

// The definition: 32-bit words of the whole 64-byte lines modulo 2^32, plus the bytes after them.
uint64_t checksum(const std::vector<std::byte>& data, size_t begin) {
  uint32_t words = 0;
  size_t i = begin;
  for (; i + 64 <= data.size(); i += 64) {
    for (size_t w = 0; w < 64; w += 4) {
      uint32_t word;
      std::memcpy(&word, data.data() + i + w, 4);
      words += word;
    }
  }
  uint64_t sum = words;
  for (; i < data.size(); ++i) sum += static_cast<uint64_t>(data[i]);
  return sum;
}

TEST(Limits, ReadAllReadsEveryByteOnce) {
  Rng rng(1);
  for (size_t bytes : {size_t{0}, size_t{1}, size_t{63}, size_t{64}, size_t{65}, size_t{255}, size_t{256}, size_t{257},
                       size_t{1000}, size_t{4096}, size_t{100003}}) {
    std::vector<std::byte> data(bytes + 3);
    for (std::byte& b : data) b = static_cast<std::byte>(rng.next());
    for (const KernelTable* table : testing::machine_kernels()) {
      EXPECT_EQ(table->read_all(data.data() + 3, bytes), checksum(data, 3)) << table->name << " " << bytes;
    }
  }
}

TEST(Limits, PeaksCountTheirOperationsAndLeaveAResult) {
  for (const KernelTable* table : testing::machine_kernels()) {
    int32_t whole = 0;
    float real = 0.0f;
    const uint64_t once = table->int8_peak(1, &whole);
    EXPECT_GT(once, 0u) << table->name;
    EXPECT_EQ(table->int8_peak(7, &whole), 7 * once) << table->name;
    EXPECT_GT(table->f32_peak(3, &real), 0u) << table->name;
    EXPECT_NE(real, 0.0f) << table->name;
    EXPECT_NE(whole, 0) << table->name;
  }
}

}  // namespace
}  // namespace infer::kernels
