#include "telemetry/sampler.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "telemetry/timestamp.h"

namespace infer::telemetry {
namespace {

Instant at(double seconds) { return Instant::from_ns(0) + Duration::from_seconds(seconds); }

engine::RequestResult answered(double submitted, double first_token, double ended) {
  engine::RequestResult result;
  result.finish_reason = engine::FinishReason::kStop;
  result.submitted = at(submitted);
  result.started = at(submitted);
  result.first_token = at(first_token);
  result.ended = at(ended);
  return result;
}

TEST(Summary, IsOfTheValuesThatWereMeasured) {
  std::vector<Duration> values;
  for (int ms = 100; ms >= 1; --ms) values.push_back(Duration::from_ms(ms));
  const LatencySummary summary = summarize(values);
  EXPECT_EQ(summary.count, 100u);
  EXPECT_NEAR(*summary.mean_ms, 50.5, 1e-9);
  EXPECT_NEAR(*summary.median_ms, 50.5, 1e-9);
  EXPECT_NEAR(*summary.p95_ms, 95, 1e-9);
  EXPECT_NEAR(*summary.p99_ms, 99, 1e-9);
  EXPECT_NEAR(*summary.std_ms, 29.0114919758820, 1e-9);  // sqrt(100 * 101 / 12)
}

TEST(Summary, OfNothingIsUnknownAndOfOneHasNoSpread) {
  EXPECT_FALSE(summarize({}).mean_ms.has_value());
  const LatencySummary one = summarize({Duration::from_ms(7)});
  EXPECT_EQ(one.median_ms, one.p99_ms);
  EXPECT_FALSE(one.std_ms.has_value());
}

TEST(Sampler, NothingIsKnownBeforeSomethingWasMeasured) {
  const Recorder recorder;
  Sampler sampler(recorder, at(5));
  const Metrics metrics = sampler.sample({}, {}, at(5), {}, true);
  EXPECT_FALSE(metrics.tokens_per_second.has_value());
  EXPECT_FALSE(metrics.requests_per_second.has_value());
  EXPECT_FALSE(metrics.hit_rate.has_value());
  EXPECT_FALSE(metrics.latency.mean_ms.has_value());
  EXPECT_FALSE(metrics.cpu_utilization.has_value());
}

TEST(Sampler, RatesAreThoseOfTheLastMinute) {
  const Recorder recorder;
  Sampler sampler(recorder, at(0));
  EngineFacts engine;
  MachineFacts machine;
  machine.cores = 2;
  std::optional<Metrics> last;
  for (int second = 0; second <= 200; ++second) {
    // Ten tokens a second, from second 100 on twenty; a request every ten seconds; half of one of two cores.
    engine.snapshot.counters.generated_tokens += second <= 100 ? 10 : 20;
    engine.snapshot.counters.ended[0] = static_cast<uint64_t>(second) / 10;
    engine.snapshot.counters.prompt_tokens += 4;
    engine.snapshot.counters.cached_tokens += 1;
    machine.cpu_time = machine.cpu_time + Duration::from_ms(500);
    last = sampler.sample(engine, machine, at(second), {}, true);
    if (second == 50) {
      EXPECT_NEAR(*last->tokens_per_second, 10, 1e-9);
      EXPECT_EQ(last->window, Duration::from_seconds(50));
    }
    if (second == 130) {
      EXPECT_NEAR(*last->tokens_per_second, 15, 1e-9);
    }
  }
  EXPECT_EQ(last->window, Duration::from_seconds(60));
  EXPECT_NEAR(*last->tokens_per_second, 20, 1e-9);
  EXPECT_NEAR(*last->requests_per_second, 0.1, 1e-9);
  EXPECT_NEAR(*last->hit_rate, 0.25, 1e-9);
  EXPECT_NEAR(*last->cpu_utilization, 0.25, 1e-9);
  EXPECT_EQ(last->uptime, Duration::from_seconds(200));
}

TEST(Sampler, LookingInBetweenDoesNotMoveTheWindow) {
  const Recorder recorder;
  Sampler sampler(recorder, at(0));
  EngineFacts engine;
  (void)sampler.sample(engine, {}, at(0), {}, true);
  engine.snapshot.counters.generated_tokens = 100;
  for (int i = 1; i <= 10; ++i) (void)sampler.sample(engine, {}, at(i), {}, false);
  EXPECT_NEAR(*sampler.sample(engine, {}, at(20), {}, false).tokens_per_second, 5, 1e-9);
}

TEST(Sampler, LatenciesAreOfAnswersThatEndedInTheLastMinute) {
  Recorder recorder;
  recorder.record_request(answered(0, 1, 2));  // Too old at 70.
  recorder.record_request(answered(20, 20.5, 24));
  recorder.record_request(answered(40, 41.5, 50));
  engine::RequestResult cancelled = answered(60, 61, 62);
  cancelled.finish_reason = engine::FinishReason::kCancelled;
  recorder.record_request(cancelled);
  Sampler sampler(recorder, at(0));
  const Metrics metrics = sampler.sample({}, {}, at(70), {}, true);
  EXPECT_EQ(metrics.requests, 3u);
  EXPECT_EQ(metrics.latency.count, 2u);  // Somebody who hung up says nothing about how long an answer takes,
  EXPECT_NEAR(*metrics.latency.mean_ms, 7000, 1e-6);
  EXPECT_EQ(metrics.first_token.count, 3u);  // but the first token had come.
  EXPECT_NEAR(*metrics.first_token.median_ms, 1000, 1e-6);
}

TEST(Histogram, BoundsAreWhatTheyWereGivenAs) {
  const std::initializer_list<double> bounds{0.0025, 0.075, 0.15, 0.3, 30, 60, 120};
  EXPECT_EQ(DurationHistogram(bounds).counts().bounds, std::vector<double>(bounds));
}

TEST(Histogram, AValueOnABoundBelongsBelowIt) {
  DurationHistogram histogram{0.001, 0.01};
  for (const int64_t us : {500, 1000, 1001, 10'000, 20'000}) histogram.observe(Duration::from_us(us));
  const HistogramCounts counts = histogram.counts();
  EXPECT_EQ(counts.counts, (std::vector<uint64_t>{2, 2, 1}));
  EXPECT_EQ(counts.total(), 5u);
  EXPECT_NEAR(counts.sum_seconds, 0.032501, 1e-12);
}

TEST(RequestWindow, ManyWritersLoseNothingWhileTheRingHasRoom) {
  RequestWindow window;
  std::vector<std::thread> threads;
  for (int writer = 0; writer < 4; ++writer) {
    threads.emplace_back([&window, writer] {
      for (int i = 0; i < 1000; ++i) {
        const Instant ended = Instant::from_ns(1 + writer * 1000 + i);
        window.add({ended, Duration::from_ns(ended.ns() * 2), Duration::from_ns(ended.ns() * 3)});
        if (i % 100 == 0) {
          for (const RequestTimes& times : window.since(Instant::from_ns(0))) {
            EXPECT_EQ(times.latency->ns(), times.ended.ns() * 2);
            EXPECT_EQ(times.first_token->ns(), times.ended.ns() * 3);
          }
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(window.since(Instant::from_ns(0)).size(), 4000u);
  EXPECT_EQ(window.since(Instant::from_ns(3001)).size(), 1000u);
  EXPECT_EQ(window.lost(), 0u);
}

TEST(RequestWindow, KeepsTheLastOnesWhenThereAreMore) {
  RequestWindow window;
  for (int i = 1; i <= 5000; ++i) window.add({Instant::from_ns(i), {}, {}});
  const auto kept = window.since(Instant::from_ns(0));
  EXPECT_EQ(kept.size(), RequestWindow::kPlaces);
  for (const RequestTimes& times : kept) EXPECT_GT(times.ended.ns(), 5000 - 4096);
}

TEST(Timestamp, IsReadAsItIsWritten) {
  for (const int64_t ms : {int64_t{0}, int64_t{1'764'442'223'004}, int64_t{951'782'399'999}}) {
    const auto read = read_timestamp(timestamp({ms}));
    ASSERT_TRUE(read.has_value()) << timestamp({ms});
    EXPECT_EQ(read->unix_ms, ms);
  }
  EXPECT_EQ(read_timestamp("2000-02-29T00:00:01Z")->unix_ms, 951'782'401'000);
  for (const char* const wrong :
       {"", "now", "2001-02-29T00:00:00Z", "2000-13-01T00:00:00Z", "2000-01-01T24:00:00Z", "2000-01-01 00:00:00Z",
        "2000-01-01T00:00:00", "2000-01-01T00:00:00.12Z", "-200-01-01T00:00:00Z", "2000-01-01T00:00:00.000Z "}) {
    EXPECT_FALSE(read_timestamp(wrong).has_value()) << wrong;
  }
}

TEST(Timestamp, IsIsoInUtcWithMilliseconds) {
  EXPECT_EQ(timestamp({0}), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(timestamp({1709210096789}), "2024-02-29T12:34:56.789Z");  // date -u -d @1709210096
}

}  // namespace
}  // namespace infer::telemetry
