#include "base/format.h"

#include <gtest/gtest.h>

#include <limits>

#include "base/bytes.h"
#include "testing/property.h"

namespace infer {
namespace {

TEST(Format, TakesEachKindOfArgument) {
  EXPECT_EQ(format("{} {} {} {} {}", -3, 4u, true, 'c', "text"), "-3 4 true c text");
  EXPECT_EQ(format("{}", std::string("own")), "own");
  EXPECT_EQ(format("{:.2f} {:g}", 1.005f * 2, 0.5), "2.01 0.5");
  EXPECT_EQ(format("{} {}", std::numeric_limits<int64_t>::min(), std::numeric_limits<uint64_t>::max()),
            "-9223372036854775808 18446744073709551615");
  EXPECT_EQ(format("{}", static_cast<int8_t>(-5)), "-5");
  EXPECT_EQ(format("nothing to fill in, {{}}"), "nothing to fill in, {}");
}

TEST(Format, TextFromOutsideIsNeverAPattern) { EXPECT_EQ(format("{}", "{} {0} %s"), "{} {0} %s"); }

TEST(FormatDeathTest, AWrongPatternIsAProgrammerError) {
  EXPECT_DEATH((void)format("{} {}", 1), "");
  EXPECT_DEATH((void)format("{:d}", "text"), "");
}

TEST(Bytes, AnyTextIsParsedOrRefusedAndWhatIsPrintedParsesBack) {
  testing::for_each_case(5000, [](Rng& rng) {
    static constexpr char kLetters[] = "0123456789..KMGiBb -e";
    std::string text;
    for (uint32_t i = rng.below(12); i > 0; --i) text += kLetters[rng.below(sizeof(kLetters) - 1)];
    const Result<uint64_t> parsed = parse_bytes(text);
    EXPECT_TRUE(parsed || parsed.error().message.find(text) != std::string::npos) << text;
    const uint64_t value = rng.next() >> (10 + rng.below(54));
    EXPECT_EQ(*parse_bytes(std::to_string(value)), value);
  });
}

}  // namespace
}  // namespace infer
