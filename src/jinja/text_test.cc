#include "jinja/text.h"

#include <gtest/gtest.h>

#include "testing/property.h"

namespace infer::jinja {
namespace {

TEST(JinjaText, PartsKeepTheOriginOfEveryByte) {
  testing::for_each_case(300, [](Rng& rng) {
    // Upper case letters are input, so that the text itself tells what is expected.
    Text text;
    for (uint32_t parts = rng.below(6); parts > 0; --parts) {
      const bool is_input = rng.below(2) == 0;
      text.append(std::string(rng.below(4), is_input ? 'A' : 'a'), is_input ? Origin::kInput : Origin::kTemplate);
    }
    Text copy("x", Origin::kTemplate);
    for (uint32_t parts = rng.below(5); parts > 0 && !text.empty(); --parts) {
      const uint32_t begin = rng.below(static_cast<uint32_t>(text.size() + 1));
      copy.append(text, begin, begin + rng.below(static_cast<uint32_t>(text.size() - begin + 1)));
    }
    size_t end = 0;
    for (size_t i = 0; i < copy.runs().size(); ++i) {
      EXPECT_GT(copy.runs()[i].end, end);
      EXPECT_TRUE(i == 0 || copy.runs()[i].origin != copy.runs()[i - 1].origin);
      end = copy.runs()[i].end;
    }
    EXPECT_EQ(end, copy.size());
    for (size_t at = 0; at < copy.size(); ++at) {
      EXPECT_EQ(copy.origin_at(at) == Origin::kInput, copy.bytes()[at] == 'A');
    }
  });
}

}  // namespace
}  // namespace infer::jinja
