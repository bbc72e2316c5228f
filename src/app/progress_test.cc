#include "app/progress.h"

#include <gtest/gtest.h>

#include "app/text_width.h"
#include "testing/property.h"

namespace infer::app {
namespace {

class SettableClock final : public Clock {
 public:
  Instant now() const override { return now_; }
  WallTime wall_time() const override { return {}; }
  void advance_ms(int64_t ms) { now_ = now_ + Duration::from_ms(ms); }

 private:
  Instant now_;
};

TEST(Progress, ShowsBarShareRateAndRemainingTime) {
  const Progress progress{
      .what = "loading", .done = 1'000'000'000, .total = 4'000'000'000, .elapsed = Duration::from_seconds(2)};
  EXPECT_EQ(render_progress(progress, 80), "loading  [███████▌                      ]   25 %  500 MB/s  6 s left");
}

TEST(Progress, ANarrowTerminalLosesTheBarThenTheRate) {
  const Progress progress{.what = "reading the prompt",
                          .done = 30,
                          .total = 100,
                          .elapsed = Duration::from_seconds(1),
                          .unit = ProgressUnit::kTokens};
  EXPECT_EQ(render_progress(progress, 58), "reading the prompt   30 %  30.0 tokens/s  3 s left");
  EXPECT_EQ(render_progress(progress, 30), "reading the prompt   30 %");
  EXPECT_EQ(render_progress(progress, 14), "readin…   30 %");
}

TEST(Progress, WithoutATotalThereIsOnlyARate) {
  EXPECT_EQ(render_progress(
                {.what = "x", .done = 5, .elapsed = Duration::from_seconds(1), .unit = ProgressUnit::kChunks}, 80),
            "x  5.0 chunks/s");
}

TEST(Progress, TheLineFitsWhateverTheNumbers) {
  testing::for_each_case(500, [](Rng& rng) {
    const Progress progress{.what = rng.below(2) ? "読み込み中" : "loading",
                            .done = rng.next() >> rng.below(64),
                            .total = rng.next() >> rng.below(64),
                            .elapsed = Duration::from_ns(static_cast<int64_t>(rng.next() >> (2 + rng.below(60)))),
                            .unit = static_cast<ProgressUnit>(rng.below(3))};
    const int columns = static_cast<int>(rng.below(120));
    EXPECT_LE(display_width(render_progress(progress, columns)), columns);
  });
}

TEST(ProgressBar, AShortJobDrawsNothing) {
  SettableClock clock;
  std::string written;
  {
    ProgressBar bar(
        clock, [&](std::string_view text) { written += text; }, [] { return 80; }, "x", ProgressUnit::kBytes);
    bar.update(1, 10);
    clock.advance_ms(100);
    bar.update(10, 10);
  }
  EXPECT_EQ(written, "");
}

TEST(ProgressBar, DrawsAtMostTenTimesASecondAndCleansUp) {
  SettableClock clock;
  int drawn = 0;
  std::string last;
  {
    const auto write = [&](std::string_view text) {
      ++drawn;
      last = text;
    };
    ProgressBar bar(clock, write, [] { return 80; }, "x", ProgressUnit::kBytes);
    for (int ms = 0; ms < 2000; ++ms) {
      clock.advance_ms(1);
      bar.update(static_cast<uint64_t>(ms), 2000);
    }
    EXPECT_GT(drawn, 10);
    EXPECT_LE(drawn, 18);
  }
  EXPECT_EQ(last, "\r\x1b[K");
}

}  // namespace
}  // namespace infer::app
