#include "tokenizer/utf8_stream.h"

#include <gtest/gtest.h>

#include "base/utf8.h"
#include "testing/property.h"

namespace infer::tokenizer {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

TEST(Utf8Stream, HoldsASplitCharacterUntilItIsWhole) {
  Utf8Stream stream;
  EXPECT_EQ(stream.push("a\xE7"), "a");
  EXPECT_EQ(stream.push("\x8C"), "");
  EXPECT_EQ(stream.push("\xAB!"), "猫!");
  EXPECT_EQ(stream.flush(), "");
}

TEST(Utf8Stream, EndsAnIncompleteCharacterWithAReplacement) {
  Utf8Stream stream;
  EXPECT_EQ(stream.push("\xF0\x9F\xA6"), "");
  EXPECT_EQ(stream.flush(), kReplacement);
  EXPECT_EQ(stream.flush(), "");
}

TEST(Utf8Stream, ReplacesBytesThatCannotComplete) {
  Utf8Stream stream;
  EXPECT_EQ(stream.push("\xE7\x8C"), "");
  EXPECT_EQ(stream.push("x"), std::string(kReplacement) + "x");  // One for the maximal part, not one for each byte.
  EXPECT_EQ(stream.push("\xFF\x80"), std::string(kReplacement) + std::string(kReplacement));
  EXPECT_EQ(stream.push("\xC0\xAF"), std::string(kReplacement) + std::string(kReplacement));  // Overlong "/".
  EXPECT_EQ(stream.push("\xED\xA0\x80").substr(0, 3), kReplacement);                          // A surrogate.
  EXPECT_EQ(stream.push("\xF4\x90\x80\x80").substr(0, 3), kReplacement);                      // Above U+10FFFF.
}

TEST(Utf8Stream, AnySplitOfAnyBytesGivesTheSameWholeCharacters) {
  testing::for_each_case(300, [](Rng& rng) {
    std::string bytes;
    for (uint32_t i = rng.below(40); i > 0; --i) {
      constexpr std::string_view kParts[] = {"a", "é", "猫", "🦙", "\xF0\x9F", "\xE3\x81", "\xC3", "\x80", "\xFF"};
      bytes += kParts[rng.below(std::size(kParts))];
    }
    Utf8Stream whole;
    std::string expected = whole.push(bytes);
    expected += whole.flush();
    EXPECT_EQ(valid_utf8_prefix(expected), expected.size());
    Utf8Stream stream;
    std::string got;
    for (size_t at = 0; at < bytes.size();) {
      const size_t count = 1 + rng.below(3);
      const std::string released = stream.push(std::string_view(bytes).substr(at, count));
      EXPECT_EQ(valid_utf8_prefix(released), released.size());
      got += released;
      at += count;
    }
    got += stream.flush();
    EXPECT_EQ(got, expected);
  });
}

TEST(Utf8, TheValidPrefixEndsAtTheFirstIllFormedByte) {
  EXPECT_EQ(valid_utf8_prefix("12345678 héllo 猫 🦙 end"), std::string_view("12345678 héllo 猫 🦙 end").size());
  EXPECT_EQ(valid_utf8_prefix("12345678abc\x80"), 11u);
  EXPECT_EQ(valid_utf8_prefix("ab\xE7\x8C"), 2u);
  EXPECT_EQ(valid_utf8_prefix(""), 0u);
}

}  // namespace
}  // namespace infer::tokenizer
