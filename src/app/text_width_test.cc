#include "app/text_width.h"

#include <gtest/gtest.h>

#include "testing/property.h"

namespace infer::app {
namespace {

TEST(TextWidth, JapaneseTakesTwoColumnsAndMarksNone) {
  EXPECT_EQ(display_width("abc"), 3);
  EXPECT_EQ(display_width("日本語"), 6);
  EXPECT_EQ(display_width("カ\u3099"), 2) << "a voiced mark joins its letter";
  EXPECT_EQ(display_width("e\u0301"), 1);
  EXPECT_EQ(display_width("😀"), 2);
  EXPECT_EQ(display_width("ｶﾅ"), 2) << "half-width letters";
  EXPECT_EQ(display_width("…█░"), 3);
}

TEST(TextWidth, BrokenBytesCountOneColumnEach) { EXPECT_EQ(display_width("\xE6\x97"), 2); }

TEST(TextWidth, CuttingNeverSplitsAWideCharacter) {
  EXPECT_EQ(fit_width("日本語", 6), "日本語");
  EXPECT_EQ(fit_width("日本語", 5), "日本…");
  EXPECT_EQ(fit_width("日本語", 4), "日…");
  EXPECT_EQ(fit_width("日本語", 1), "…");
  EXPECT_EQ(fit_width("日本語", 0), "");
}

TEST(Printable, ControlCharactersNeverReachTheTerminal) {
  EXPECT_EQ(printable("a\x1b[31mb"), "a\xEF\xBF\xBD[31mb");
  EXPECT_EQ(printable("a\xC2\x9B"
                      "1m"),
            "a\xEF\xBF\xBD"
            "1m");
  EXPECT_EQ(printable("line\n\tnext é 日本\r"), "line\n\tnext é 日本\xEF\xBF\xBD");
}

TEST(TextWidth, WhatIsCutAlwaysFits) {
  testing::for_each_case(300, [](Rng& rng) {
    std::string text;
    for (uint32_t i = rng.below(20); i > 0; --i) {
      const char* kParts[] = {"a", "日", "\u3099", "😀", "\xFF", "é"};
      text += kParts[rng.below(6)];
    }
    const int columns = static_cast<int>(rng.below(30));
    EXPECT_LE(display_width(fit_width(text, columns)), columns) << text;
  });
}

}  // namespace
}  // namespace infer::app
