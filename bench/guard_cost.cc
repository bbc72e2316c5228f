// What the quality guard takes from the speed of answers: the same answers with it and without, in turns.
//
//   guard_cost [-m MODEL.gguf] [--load stream|pauses|streams] [--tokens N] [--answers N] [--pause-ms N] [--rounds N]
//              [--loops FAST,MID,SLOW] [--none] [--smoke]
//
// With it: what `inferos serve` runs by default, that is the agent's loops each 1, 10 and 100 ms with their samples and
// listeners, the likelihood of each token, the samples that answers leave, and exact checks of them in 2 % of the time.
// Without: the same levels of the KV cache and nothing of that. Levels are chosen by what shadow probes found, with and
// without a guard, so that these are in both. The limit of quality is out of reach, so that both do the same.
//
// `stream` is one answer after the other, `pauses` the same with time between them, in which the guard checks;
// `streams` keeps eight at once and more waiting. Counted are tokens over the time of the answers, pauses left out.
// Each line is a round; the last one has the median ratio and the quartiles. --none has no guard on either side, for
// what the ratio of two equals scatters. The smoke size runs on a small random model.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "api/control_service.h"
#include "base/log.h"
#include "base/rng.h"
#include "bench_model.h"
#include "engine/engine.h"
#include "engine_target.h"
#include "os/system_clock.h"
#include "os/wake_signal.h"
#include "quality/level_sensitivity.h"
#include "quality/quality_work.h"
#include "testing/hooked_runner.h"

namespace infer {
namespace {

constexpr int kPrompt = 96, kStreams = 8;

struct Choices {
  std::string model, load = "stream";
  int tokens = 128, answers = 4, pause_ms = 300, rounds = 7;
  control::LoopConfig loops;
  bool none = false, smoke = false;
  bool is_saturated() const { return load == "streams"; }
};

struct Measured {
  double tokens_per_second = 0;
  std::vector<TokenId> tokens{};
  uint64_t checks = 0;
};

// An engine, with or without its guard.
class Served {
 public:
  Served(const bench::BenchModel& loaded, const Choices& choices, bool guarded, const Clock& clock)
      : choices_(choices),
        clock_(clock),
        work_(no_text_, loaded.get().kernels().log_sum_exp, loaded.tokenizer->vocabulary_size()) {
    auto runner = std::make_unique<testing::HookedRunner>(loaded.get());
    runner->is_unasked = !guarded;
    engine::EngineLimits limits;
    limits.running_max = kStreams;
    limits.stream_tokens = static_cast<size_t>(choices.tokens) + 1;
    engine_ =
        engine::Engine::start(std::move(runner), *loaded.tokenizer, limits, clock, {.idle = guarded ? &work_ : nullptr})
            .value();
    target_.emplace(*engine_, guarded ? &work_ : nullptr);
    control::Config config;
    config.policy.quality.max_delta_ppl = 1e9;
    config.policy.speculate = false;  // By measured times, which differ from run to run.
    config.evaluation.full_hour = -1;
    config.loops = choices.loops;
    if (guarded) {
      control_ = api::ControlService::start(config, *target_, clock, log_).value();
    } else if (!target_->apply(config.policy)) {
      std::abort();
    }
  }

  Measured measure() {
    Measured measured;
    Duration taken;
    const int at_once = choices_.is_saturated() ? choices_.answers * kStreams : 1;
    for (int first = 0; first < choices_.answers * (choices_.is_saturated() ? kStreams : 1); first += at_once) {
      if (choices_.load == "pauses") pause_.wait_until(clock_.now() + Duration::from_ms(choices_.pause_ms));
      const Instant begin = clock_.now();
      std::vector<engine::RequestHandle> handles;
      for (int i = 0; i < at_once; ++i) handles.push_back(submit(static_cast<uint64_t>(first + i)));
      for (const engine::RequestHandle& handle : handles) {
        const engine::Answer answer = engine::read_answer(*handle, {clock_, Deadline::never(), {}});
        if (control_) control_->recorder().record_request(answer.result);
        measured.tokens.insert(measured.tokens.end(), answer.tokens.begin(), answer.tokens.end());
      }
      taken = taken + (clock_.now() - begin);
    }
    measured.tokens_per_second = static_cast<double>(measured.tokens.size()) / taken.seconds();
    measured.checks = work_.exact().all_checks;
    return measured;
  }

 private:
  engine::RequestHandle submit(uint64_t number) {
    Rng rng(number);
    std::vector<TokenId> prompt(kPrompt);
    for (TokenId& token : prompt) token = static_cast<TokenId>(rng.below(200));
    return *std::move(engine_
                          ->submit({.prompt = std::move(prompt),
                                    .options = {.tokens_max = choices_.tokens, .ignore_end_tokens = true},
                                    .sampling = {.temperature = 0.7f, .seed = number},
                                    .limits = {Deadline::never()}})
                          .handle);
  }

  const Choices& choices_;
  const Clock& clock_;
  const quality::EvaluationText no_text_;
  NullLog log_;
  os::WakeSignal pause_;
  quality::QualityWork work_;
  std::unique_ptr<engine::Engine> engine_;
  std::optional<bench::EngineTarget> target_;
  std::unique_ptr<api::ControlService> control_;
};

bench::BenchModel load(const Choices& choices, const CallContext& call) {
  const model::ModelOptions options{.context = 2048, .sequences = kStreams, .logits_per_step = 64};
  bench::BenchModel loaded = bench::load_bench_model(choices.smoke ? "" : choices.model, options, call);
  constexpr uint64_t kSmallBytes = 300'000'000;  // Of weights; what serve tests at its start.
  if (loaded.get().memory().weights_bytes < kSmallBytes) {
    const auto test =
        quality::measure_sensitivity(loaded.get(), *loaded.tokenizer, quality::sensitivity_text(), call).value();
    loaded.get().set_level_sensitivity(test.floors, test.loss_to_divergence, test.seen_to_divergence);
  }
  return loaded;
}

int run(const Choices& choices) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  const os::SystemClock clock;
  const bench::BenchModel loaded = load(choices, {clock, Deadline::never(), {}});
  std::vector<double> ratios;
  for (int round = 0; round < choices.rounds; ++round) {
    std::optional<Measured> with, without;
    for (int turn = 0; turn < 2; ++turn) {
      const bool guarded = (round + turn) % 2 == 0;
      (guarded ? with : without) = Served(loaded, choices, guarded && !choices.none, clock).measure();
    }
    if (with->tokens != without->tokens) {
      std::printf("the answers differ\n");
      return 1;
    }
    ratios.push_back(with->tokens_per_second / without->tokens_per_second);
    std::printf("without %.1f, with %.1f tokens/s: %.3f; %llu answers checked\n", without->tokens_per_second,
                with->tokens_per_second, ratios.back(), static_cast<unsigned long long>(with->checks));
  }
  std::sort(ratios.begin(), ratios.end());
  std::printf("%s: median %.3f (%.3f to %.3f)\n", choices.load.c_str(), ratios[ratios.size() / 2],
              ratios[ratios.size() / 4], ratios[ratios.size() * 3 / 4]);
  return 0;
}

}  // namespace
}  // namespace infer

int main(int argc, char** argv) {
  infer::Choices choices;
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    const auto value = [&] { return i + 1 < argc ? argv[++i] : ""; };
    if (name == "-m") choices.model = value();
    if (name == "--load") choices.load = value();
    if (name == "--tokens") choices.tokens = std::atoi(value());
    if (name == "--answers") choices.answers = std::atoi(value());
    if (name == "--pause-ms") choices.pause_ms = std::atoi(value());
    if (name == "--loops") {
      std::sscanf(value(), "%d,%d,%d", &choices.loops.fast_ms, &choices.loops.mid_ms, &choices.loops.slow_ms);
    }
    if (name == "--rounds") choices.rounds = std::atoi(value());
    if (name == "--none") choices.none = true;
    if (name == "--smoke") {
      choices.smoke = true;
      choices.tokens = 20;
      choices.answers = choices.rounds = 1;
      choices.load = "streams";
    }
  }
  if (choices.load != "stream" && choices.load != "pauses" && choices.load != "streams") {
    std::fprintf(stderr, "guard_cost: --load is stream, pauses or streams, not \"%s\"\n", choices.load.c_str());
    return 2;
  }
  return infer::run(choices);
}
