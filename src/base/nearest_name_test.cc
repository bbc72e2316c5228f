#include "base/nearest_name.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace infer {
namespace {

TEST(NearestName, FindsWhatWasMeantAndNothingWhereNothingIsNear) {
  const std::vector<std::string> names{"recent_window", "mode", "max_delta_ppl"};
  EXPECT_EQ(nearest_name("recent_windwo", names), "recent_window");
  EXPECT_EQ(nearest_name("moed", names), "mode");
  EXPECT_EQ(nearest_name("max_delta", names), "max_delta_ppl");
  EXPECT_EQ(nearest_name("xyzzy", names), "");
  EXPECT_EQ(nearest_name("", {}), "");
}

}  // namespace
}  // namespace infer
