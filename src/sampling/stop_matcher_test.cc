#include "sampling/stop_matcher.h"

#include <gtest/gtest.h>

#include "testing/property.h"

namespace infer::sampling {
namespace {

using ::infer::testing::for_each_case;

StopMatcher matcher(const std::vector<std::string>& stops) {
  Result<StopMatcher> made = StopMatcher::make(stops);
  EXPECT_TRUE(made) << made.error().message;
  return std::move(*made);
}

struct Outcome {
  std::string text;
  std::optional<size_t> stop;
  bool operator==(const Outcome&) const = default;
};

// The definition, on the whole text at once.
Outcome naive(const std::string& text, const std::vector<std::string>& stops) {
  for (size_t end = 1; end <= text.size(); ++end) {
    Outcome out{text, std::nullopt};
    for (size_t i = 0; i < stops.size(); ++i) {
      if (!std::string_view(text).substr(0, end).ends_with(stops[i])) continue;
      if (out.stop && stops[i].size() <= stops[*out.stop].size()) continue;
      out = Outcome{text.substr(0, end - stops[i].size()), i};
    }
    if (out.stop) return out;
  }
  return Outcome{text, std::nullopt};
}

TEST(StopMatcher, HoldsTheBeginningOfAStopAndReleasesItWhenItIsNone) {
  StopMatcher stop = matcher({"</end>"});
  std::string out;
  EXPECT_EQ(stop.push("hello <", out), std::nullopt);
  EXPECT_EQ(out, "hello ");
  EXPECT_EQ(stop.push("/en", out), std::nullopt);
  EXPECT_EQ(out, "hello ");
  EXPECT_EQ(stop.held_bytes(), 4u);
  EXPECT_EQ(stop.push("try <", out), std::nullopt);
  EXPECT_EQ(out, "hello </entry ");
  stop.finish(out);
  EXPECT_EQ(out, "hello </entry <");
}

TEST(StopMatcher, AStopThatSpansPiecesEndsTheTextBeforeIt) {
  StopMatcher stop = matcher({"\nUser:", "###"});
  std::string out;
  EXPECT_EQ(stop.push("fine.\nUs", out), std::nullopt);
  EXPECT_EQ(stop.push("er: more", out), 0u);
  EXPECT_EQ(out, "fine.");
  EXPECT_EQ(stop.push("even more", out), 0u);
  stop.finish(out);
  EXPECT_EQ(out, "fine.");
  EXPECT_EQ(stop.found(), 0u);
}

TEST(StopMatcher, AFalseStartInsideAStopIsNotMissed) {
  StopMatcher stop = matcher({"aab"});
  std::string out;
  for (const char* piece : {"a", "a", "a"}) EXPECT_EQ(stop.push(piece, out), std::nullopt);
  EXPECT_EQ(out, "a");
  EXPECT_EQ(stop.push("b", out), 0u);
  EXPECT_EQ(out, "a");
}

TEST(StopMatcher, TheStopThatEndsFirstWinsAndThenTheLongest) {
  std::string out;
  EXPECT_EQ(matcher({"abcd", "bc"}).push("abcd", out), 1u);
  EXPECT_EQ(out, "a");
  out.clear();
  EXPECT_EQ(matcher({"ab", "xab"}).push("xab", out), 1u);
  EXPECT_EQ(out, "");
}

TEST(StopMatcher, WithoutStopsEverythingPasses) {
  StopMatcher stop = matcher({});
  std::string out;
  EXPECT_EQ(stop.push("anything", out), std::nullopt);
  EXPECT_EQ(out, "anything");
}

TEST(StopMatcher, AgreesWithNaiveSearchHoweverTheTextIsCut) {
  for_each_case(3000, [](Rng& rng) {
    // Two letters, so that stops overlap themselves and each other all the time.
    auto random_text = [&rng](uint32_t size) {
      std::string text;
      for (uint32_t i = 0; i < size; ++i) text += static_cast<char>('a' + rng.below(2));
      return text;
    };
    std::vector<std::string> stops(rng.below(4));
    for (std::string& stop : stops) stop = random_text(1 + rng.below(8));
    const std::string text = random_text(rng.below(40));
    StopMatcher stop = matcher(stops);
    Outcome out;
    for (size_t at = 0; at < text.size();) {
      const size_t piece = rng.below(6);  // Empty pieces too.
      const bool before = stop.found().has_value();
      const size_t already = out.text.size();
      out.stop = stop.push(std::string_view(text).substr(at, piece), out.text);
      EXPECT_TRUE(!before || out.text.size() == already);
      // Everything that is not held is out, and what is held begins a stop.
      at = std::min(text.size(), at + piece);
      if (!out.stop) {
        ASSERT_EQ(out.text.size() + stop.held_bytes(), at);
        const std::string held = text.substr(at - stop.held_bytes(), stop.held_bytes());
        bool begins_a_stop = held.empty();
        for (const std::string& one : stops) begins_a_stop |= one.starts_with(held);
        ASSERT_TRUE(begins_a_stop) << held;
      }
    }
    stop.finish(out.text);
    const Outcome expected = naive(text, stops);
    ASSERT_EQ(out.text, expected.text) << "text " << text;
    if (expected.stop) {
      ASSERT_TRUE(out.stop);
      ASSERT_EQ(stops[*out.stop], stops[*expected.stop]);
    } else {
      ASSERT_FALSE(out.stop);
    }
  });
}

TEST(StopMatcher, BadStopsAreRefusedWithTheNumbers) {
  for (const std::vector<std::string>& stops : {std::vector<std::string>{"ok", ""}, std::vector<std::string>(65, "x"),
                                                std::vector<std::string>{std::string(4097, 'x')}}) {
    const Result<StopMatcher> made = StopMatcher::make(stops);
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().code, ErrorCode::kInvalidArgument);
    EXPECT_NE(made.error().message.find("stop"), std::string::npos);
  }
  EXPECT_NE(StopMatcher::make(std::vector<std::string>(65, "x")).error().message.find("64"), std::string::npos);
  EXPECT_TRUE(StopMatcher::make({std::string(4096, 'x')}));
}

}  // namespace
}  // namespace infer::sampling
