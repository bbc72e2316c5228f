// The engine under load, in this process: how late it is, how soon it rests, what a retry costs, whether memory grows.
//
//   engine_load [-m MODEL.gguf] [--draft MODEL.gguf] WHAT [--clients N] [--requests N] [--seconds N]
//
//   deadlines   overshoot by phase, of deadlines that passed
//   cancel      from a cancellation to an idle processor
//   retry       what a second attempt computes again
//   soak        mixed load; memory over time
//   --smoke     a little of each
//
// Without a model a small random one. Deadlines are drawn log-uniformly from 5 ms to 1 s on and fall into the queue,
// the prompt and the answer; overshoot is seen by the reader, thread switch included.
#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "base/rng.h"
#include "bench_model.h"
#include "engine/engine.h"
#include "os/process_facts.h"
#include "os/service_thread.h"
#include "os/system_clock.h"
#include "os/wake_signal.h"
#include "testing/machine_kernels.h"

namespace infer {
namespace {

struct Choices {
  std::string model, draft, what;
  int clients = 8;
  int requests = 1000;
  int seconds = 60;
};

constexpr int kContext = 1024;

double quantile(std::vector<double>& values, double share) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[std::min(values.size() - 1, static_cast<size_t>(share * static_cast<double>(values.size())))];
}

void sleep_for(const Clock& clock, Duration time) {
  os::WakeSignal never;
  never.wait_until(clock.now() + time);
}

std::vector<TokenId> random_prompt(Rng& rng, int tokens) {
  std::vector<TokenId> prompt;
  for (int i = 0; i < tokens; ++i) prompt.push_back(static_cast<TokenId>(rng.below(255)));
  return prompt;
}

engine::Request make_request(Rng& rng, int prompt, int answer, Deadline deadline) {
  return {.prompt = random_prompt(rng, prompt),
          .options = {.tokens_max = answer, .ignore_end_tokens = true},
          .sampling = {.temperature = 0},
          .limits = {deadline}};
}

// Runs `client` on as many threads, each with its number; returns when all have ended.
void on_threads(int count, const std::function<void(int)>& client) {
  std::vector<std::unique_ptr<os::ServiceThread>> threads;
  for (int i = 0; i < count; ++i) threads.push_back(os::ServiceThread::start([&client, i] { client(i); }).value());
}

// ---- Deadlines.

struct Overshoots {
  std::array<std::vector<double>, 3> by_phase;  // Queue, prompt, answer; in ms.
  int refused = 0, in_time = 0;
};

// A request that is refused because its time is too short comes again with a third more, so that deadlines lie about
// where the first token is expected; others of higher priority then push it back into the queue.
void meet_deadlines(engine::Engine& engine, const Clock& clock, uint64_t seed, int requests, Instant until,
                    Overshoots& seen) {
  Rng rng(seed);
  const CallContext call{clock, Deadline::never(), {}};
  for (int i = 0; i < requests && clock.now() < until; ++i) {
    double seconds = 0.005 * std::pow(200.0, rng.uniform());
    const engine::Request request =
        make_request(rng, 1 + static_cast<int>(rng.below(100)), static_cast<int>(rng.below(100)), Deadline::never());
    const auto priority = static_cast<engine::Priority>(rng.below(engine::kPriorities));
    engine::Submitted submitted;
    Instant deadline;
    for (; !submitted.handle; seconds *= 1.33) {
      engine::Request attempt = request;
      attempt.priority = priority;
      deadline = clock.now() + Duration::from_seconds(seconds);
      attempt.limits.total = Deadline::at(deadline);
      submitted = engine.submit(std::move(attempt));
      seen.refused += submitted.status ? 0 : 1;
      if (!submitted.status) sleep_for(clock, Duration::from_ms(2));
    }
    const engine::Answer answer = engine::read_answer(**submitted.handle, call);
    const double overshoot = (clock.now() - deadline).ms();
    if (answer.result.finish_reason != engine::FinishReason::kDeadline) {
      ++seen.in_time;
      continue;
    }
    const size_t phase = !answer.result.started ? 0 : !answer.result.first_token ? 1 : 2;
    seen.by_phase[phase].push_back(overshoot);
  }
}

void measure_deadlines(engine::Engine& engine, const Choices& choices, const Clock& clock) {
  std::vector<Overshoots> seen(static_cast<size_t>(choices.clients));
  const Instant until = clock.now() + Duration::from_seconds(choices.seconds);
  on_threads(choices.clients, [&](int client) {
    meet_deadlines(engine, clock, static_cast<uint64_t>(client) + 1, choices.requests / choices.clients, until,
                   seen[static_cast<size_t>(client)]);
  });
  constexpr const char* kPhases[] = {"in the queue", "in the prompt", "in the answer"};
  std::vector<double> all;
  int refused = 0, in_time = 0;
  for (const Overshoots& each : seen) refused += each.refused, in_time += each.in_time;
  for (size_t phase = 0; phase < 3; ++phase) {
    std::vector<double> values;
    for (const Overshoots& each : seen) {
      values.insert(values.end(), each.by_phase[phase].begin(), each.by_phase[phase].end());
    }
    all.insert(all.end(), values.begin(), values.end());
    std::printf("%-14s %6zu passed: overshoot p50 %.2f, p99 %.2f, max %.2f ms\n", kPhases[phase], values.size(),
                quantile(values, 0.5), quantile(values, 0.99), quantile(values, 1));
  }
  const auto late = std::count_if(all.begin(), all.end(), [](double ms) { return ms > 250; });
  std::printf(
      "%d clients: %zu deadlines passed: overshoot p50 %.2f, p99 %.2f, max %.2f ms; %td held a place for 250 ms "
      "more; %d ended before, %d were refused\n",
      choices.clients, all.size(), quantile(all, 0.5), quantile(all, 0.99), quantile(all, 1), late, in_time, refused);
}

// ---- Cancellation.

// From now until the process used no more than a tenth of a core in each millisecond of 20.
double until_idle_ms(const Clock& clock) {
  const Instant begin = clock.now();
  Instant busy = begin;
  Duration used = os::cpu_time_used();
  while (clock.now() - busy < Duration::from_ms(20)) {
    const Instant before = clock.now();
    sleep_for(clock, Duration::from_ms(1));
    const Duration now_used = os::cpu_time_used();
    if ((now_used - used).seconds() > 0.1 * (clock.now() - before).seconds()) busy = clock.now();
    used = now_used;
  }
  return (busy - begin).ms();
}

void measure_cancel(engine::Engine& engine, const Choices& choices, const Clock& clock) {
  Rng rng(3);
  std::vector<double> times;
  for (int i = 0; i < choices.requests; ++i) {
    std::vector<engine::RequestHandle> handles;
    for (uint32_t n = 1 + rng.below(8); n > 0; --n) {
      engine::Submitted submitted =
          engine.submit(make_request(rng, 1 + static_cast<int>(rng.below(800)), 200, Deadline::never()));
      if (submitted.status) handles.push_back(*std::move(submitted.handle));
    }
    sleep_for(clock, Duration::from_ms(10 + rng.below(300)));
    for (const engine::RequestHandle& handle : handles) handle->cancel(CancelReason::kUser);
    times.push_back(until_idle_ms(clock));
  }
  std::printf("%zu cancellations: idle after p50 %.1f, p99 %.1f, max %.1f ms\n", times.size(), quantile(times, 0.5),
              quantile(times, 0.99), quantile(times, 1));
}

// ---- Retries.

// Its time would do if it were alone; others of higher priority come behind it, so that it passes inside the prompt.
engine::RequestResult run_out_of_time(engine::Engine& engine, const Clock& clock, Rng& rng,
                                      const std::vector<TokenId>& prompt) {
  const CallContext call{clock, Deadline::never(), {}};
  engine::Submitted submitted;
  for (double seconds = 0.1; !submitted.handle; seconds *= 1.2) {
    engine::Request request = make_request(rng, 1, 4, Deadline::at(clock.now() + Duration::from_seconds(seconds)));
    request.prompt = prompt;
    submitted = engine.submit(std::move(request));
  }
  while ((*submitted.handle)->facts().total.when() > clock.now() && engine.snapshot().running == 0) {
    sleep_for(clock, Duration::from_ms(1));
  }
  std::vector<engine::RequestHandle> others;
  for (int i = 0; i < 3; ++i) {
    engine::Request other = make_request(rng, 200, 50, Deadline::never());
    other.priority = engine::Priority::kHigh;
    engine::Submitted also = engine.submit(std::move(other));
    if (also.handle) others.push_back(*std::move(also.handle));
  }
  return engine::read_answer(**submitted.handle, call).result;
}

void measure_retry(engine::Engine& engine, const Choices& choices, const Clock& clock) {
  Rng rng(7);
  const CallContext call{clock, Deadline::never(), {}};
  std::vector<double> shares;
  for (int i = 0; i < choices.requests; ++i) {
    const std::vector<TokenId> prompt = random_prompt(rng, 900);
    const engine::RequestResult first = run_out_of_time(engine, clock, rng, prompt);
    engine::Request again = make_request(rng, 1, 4, Deadline::never());
    again.prompt = prompt;
    const engine::RequestResult second = engine::read_answer(**engine.submit(std::move(again)).handle, call).result;
    const int known = first.cached_tokens + std::min(first.computed_tokens, 900);
    if (first.finish_reason != engine::FinishReason::kDeadline || known < 128) continue;
    shares.push_back(100.0 * std::max(0, known - second.cached_tokens) / 900);
  }
  std::printf("%zu retries after a deadline inside the prompt: computed again, of the prompt: p50 %.1f, max %.1f %%\n",
              shares.size(), quantile(shares, 0.5), quantile(shares, 1));
}

// ---- Soak.

void mixed_client(engine::Engine& engine, const Clock& clock, uint64_t seed, Instant until,
                  std::atomic<uint64_t>& ended) {
  Rng rng(seed);
  const CallContext call{clock, Deadline::never(), {}};
  std::vector<std::vector<TokenId>> families;
  for (int i = 0; i < 3; ++i) families.push_back(random_prompt(rng, 300));
  while (clock.now() < until) {
    engine::Request request =
        make_request(rng, 1 + static_cast<int>(rng.below(300)), static_cast<int>(rng.below(64)), Deadline::never());
    if (rng.uniform() < 0.5) {
      const auto& family = families[rng.below(3)];
      request.prompt.insert(request.prompt.begin(), family.begin(), family.begin() + rng.below(300));
    }
    if (rng.uniform() < 0.3) request.sampling = {.temperature = 1, .seed = seed + ended.load()};
    if (rng.uniform() < 0.4) request.limits.total = Deadline::at(clock.now() + Duration::from_ms(5 + rng.below(3000)));
    if (rng.uniform() < 0.1) request.answers = 2;
    if (rng.uniform() < 0.1) request.top_logprobs = 3;
    if (rng.uniform() < 0.1) request.stages = engine::standard_stages();
    if (rng.uniform() < 0.05) request.pooling = engine::Pooling::kMean;
    if (request.pooling) request.answers = 1;
    engine::Submitted submitted = engine.submit(std::move(request));
    ++ended;
    if (!submitted.status) {
      sleep_for(clock, Duration::from_ms(20));
      continue;
    }
    const double habit = rng.uniform();
    if (habit < 0.2) {  // It goes, now or after a while.
      sleep_for(clock, Duration::from_ms(rng.below(500)));
      continue;
    }
    const CallContext patience{clock, Deadline::at(clock.now() + Duration::from_ms(rng.below(2000))), {}};
    (void)engine::read_answer(**submitted.handle, habit < 0.4 ? patience : call);
    for (const engine::RequestHandle& other : submitted.others) (void)engine::read_answer(*other, call);
  }
}

// Until prefixes fill the KV cache: from then on memory has no reason to grow.
void fill_cache(engine::Engine& engine, const Clock& clock) {
  Rng rng(11);
  const CallContext call{clock, Deadline::never(), {}};
  for (engine::EngineSnapshot seen = engine.snapshot(); seen.pages_free > seen.pages_max / 20;
       seen = engine.snapshot()) {
    engine::Submitted submitted = engine.submit(make_request(rng, kContext - 8, 4, Deadline::never()));
    if (!submitted.status) return;
    (void)engine::read_answer(**submitted.handle, call);
  }
}

void soak(engine::Engine& engine, const Choices& choices, const Clock& clock) {
  fill_cache(engine, clock);
  const Instant begin = clock.now(), until = begin + Duration::from_seconds(choices.seconds);
  std::atomic<uint64_t> ended{0};
  uint64_t settled = 0, last = 0;
  on_threads(choices.clients + 1, [&](int client) {
    if (client > 0) return mixed_client(engine, clock, static_cast<uint64_t>(client), until, ended);
    for (int sample = 1; sample <= 20; ++sample) {
      sleep_for(clock, Duration::from_seconds(choices.seconds / 20.0));
      last = os::resident_bytes().value_or(0);
      if (sample == 6) settled = last;
      std::printf("%5.0f s %8llu requests, %8.1f MB resident\n", (clock.now() - begin).seconds(),
                  static_cast<unsigned long long>(ended.load()), static_cast<double>(last) / 1e6);
      std::fflush(stdout);
    }
  });
  const engine::EngineSnapshot snapshot = engine.snapshot();
  std::printf("%llu tokens drafted, %llu accepted\n",
              static_cast<unsigned long long>(snapshot.counters.drafted_tokens()),
              static_cast<unsigned long long>(snapshot.counters.accepted_tokens()));
  std::printf(
      "memory from 30 %% of the time to its end: %+.2f %%; %llu steps, %llu abandoned, %llu failed; %d running\n",
      100 * (static_cast<double>(last) / static_cast<double>(std::max<uint64_t>(1, settled)) - 1),
      static_cast<unsigned long long>(snapshot.counters.steps),
      static_cast<unsigned long long>(snapshot.counters.steps_abandoned),
      static_cast<unsigned long long>(snapshot.counters.steps_failed), snapshot.running);
}

int run(const Choices& choices) {
  const os::SystemClock clock;
  const bench::BenchModel loaded = bench::load_bench_model(
      choices.model, {.context = kContext, .sequences = 8, .logits_per_step = 24}, {clock, Deadline::never(), {}});
  bench::BenchModel draft;
  engine::EngineParts parts;
  if (!choices.draft.empty()) {
    draft = bench::load_bench_model(choices.draft, {.context = kContext, .sequences = 8, .logits_per_step = 8},
                                    {clock, Deadline::never(), {}}, &loaded);
    parts.draft = engine::make_model_runner(draft.get());
  }
  const auto engine =
      engine::Engine::start(engine::make_model_runner(loaded.get()), *loaded.tokenizer, {}, clock, std::move(parts))
          .value();
  {  // Speeds are known from here on.
    Rng rng(9);
    const CallContext call{clock, Deadline::never(), {}};
    for (int i = 0; i < 3; ++i) {
      (void)engine::read_answer(**engine->submit(make_request(rng, 200, 16, Deadline::never())).handle, call);
    }
  }
  if (choices.what == "deadlines") measure_deadlines(*engine, choices, clock);
  if (choices.what == "cancel") measure_cancel(*engine, choices, clock);
  if (choices.what == "retry") measure_retry(*engine, choices, clock);
  if (choices.what == "soak") soak(*engine, choices, clock);
  return 0;
}

int run_smoke() {
  for (const char* what : {"deadlines", "cancel", "retry", "soak"}) {
    const int failed = run({.model = "", .draft = "", .what = what, .clients = 6, .requests = 24, .seconds = 2});
    if (failed != 0) return failed;
  }
  return 0;
}

}  // namespace
}  // namespace infer

int main(int argc, char** argv) {
  infer::Choices choices;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const auto number = [&] { return i + 1 < argc ? std::atoi(argv[++i]) : 0; };
    if (word == "--smoke") return infer::run_smoke();
    if (word == "-m" && i + 1 < argc) {
      choices.model = argv[++i];
    } else if (word == "--draft" && i + 1 < argc) {
      choices.draft = argv[++i];
    } else if (word == "--clients") {
      choices.clients = number();
    } else if (word == "--requests") {
      choices.requests = number();
    } else if (word == "--seconds") {
      choices.seconds = number();
    } else {
      choices.what = word;
    }
  }
  if (choices.what.empty()) {
    std::fprintf(stderr,
                 "usage: engine_load [-m MODEL.gguf] deadlines|cancel|retry|soak [--clients N] [--requests N]\n");
    return 2;
  }
  return infer::run(choices);
}
