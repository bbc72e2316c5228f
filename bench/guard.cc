// What the quality guard does on a real model: how soon it steps back from a policy that costs too much, and what is
// left after it has.
//
//   guard -m MODEL.gguf --text FILE [--mode MODE] [--window N] [--max-delta X] [--seeds N] [--first-seed N]
//         [--answers N] [--checked N] [--spill FOLDER] [--only-guarded] [--smoke]
//
// For each seed the engine answers prompts from the text, drawn at temperature 1, while the agent's loops run beside
// it. Told are the steps with the tokens until each, and then what exact checks of the next `checked` answers say of
// the perplexity above that of 16 bits, as far as the levels did not change meanwhile. The smoke size runs on a small
// random model.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/rng.h"
#include "bench_model.h"
#include "control/agent.h"
#include "engine/engine.h"
#include "engine_target.h"
#include "os/system_clock.h"
#include "os/text_file.h"
#include "quality/level_sensitivity.h"
#include "quality/quality_work.h"
#include "testing/machine_kernels.h"

namespace infer {
namespace {

constexpr int kPrompt = 300, kAnswer = 500;

struct Choices {
  std::string model, text;
  std::string spill;  // Where planes go that may come back; "": nowhere.
  kv::KvMode mode = kv::KvMode::kThroughput;
  int window = 16;
  double max_delta = 0.1;
  int seeds = 3, first_seed = 1, answers = 8;
  int checked = 1;  // Answers behind a seed's figure.
  bool smoke = false, only_guarded = false;
};

bench::BenchModel load(const Choices& choices, const CallContext& call) {
  bench::BenchModel loaded = bench::load_bench_model(
      choices.smoke ? "" : choices.model,
      {.context = 2048, .sequences = 3, .logits_per_step = 64, .spill_folder = choices.spill}, call);
  const auto test =
      quality::measure_sensitivity(loaded.get(), *loaded.tokenizer, quality::sensitivity_text(), call).value();
  loaded.get().set_level_sensitivity(test.floors, test.loss_to_divergence, test.seen_to_divergence);
  return loaded;
}

// One engine and its agent, whose loops run on this thread.
class Session {
 public:
  Session(const Choices& choices, const bench::BenchModel& loaded, const std::vector<TokenId>& text, const Clock& clock)
      : text_(text),
        clock_(clock),
        work_(no_text_, loaded.get().kernels().log_sum_exp, loaded.tokenizer->vocabulary_size()),
        engine_(engine::Engine::start(engine::make_model_runner(loaded.get()), *loaded.tokenizer, {.running_max = 1},
                                      clock, {.idle = &work_})
                    .value()),
        target_(*engine_, &work_) {
    control::Config config;
    config.policy.kv.mode = choices.mode;
    config.policy.kv.recent_window = choices.window;
    config.policy.quality.max_delta_ppl = choices.max_delta;
    config.evaluation.exact_share = 1;
    agent_.emplace(config, target_, recorder_, log_, clock.now());
    if (!agent_->start()) std::abort();
  }

  const control::Agent& agent() const { return *agent_; }
  uint64_t tokens() const { return engine_->snapshot().counters.judged_tokens; }
  quality::ExactFindings findings() const { return work_.exact(); }
  // When each step was taken, in tokens, and what was expected of the levels that pages had, and should have.
  struct Step {
    uint64_t tokens = 0;
    double held = 0, planned = 0;  // Nats.
  };
  const std::vector<Step>& steps() const { return steps_; }

  void answer(Rng& rng) {
    const auto begin = text_.begin() + rng.below(static_cast<uint32_t>(text_.size()) - kPrompt);
    const auto submitted =
        engine_->submit({.prompt = {begin, begin + kPrompt},
                         .options = {.tokens_max = kAnswer, .ignore_end_tokens = true},
                         .sampling = {.temperature = 1, .top_k = 0, .top_p = 1, .min_p = 0, .seed = rng.next()},
                         .limits = {Deadline::never()}});
    engine::AnswerStream& stream = **submitted.handle;
    while (!stream.finished()) {
      while (stream.take()) {
      }
      stream.wait_until(clock_.now() + Duration::from_ms(1));
      agent_->tick({}, clock_.now(), {});
      note_steps();
    }
  }
  // What the next checked answers say: the last ones, where the levels changed meanwhile.
  quality::ExactFigures check(Rng& rng, int answers) {
    for (int i = 0; i < answers || work_.exact().checks == 0; ++i) check_one(rng);
    return quality::exact_figures(work_.exact().sums);
  }

 private:
  void check_one(Rng& rng) {
    const uint64_t before = work_.exact().all_checks;
    do {
      answer(rng);
      const Instant until = clock_.now() + Duration::from_seconds(5);
      // Dropped where the levels changed within it.
      while (work_.exact().all_checks == before && clock_.now() < until) engine_->wake();
    } while (work_.exact().all_checks == before);
    agent_->tick({}, clock_.now(), {});
    note_steps();
  }
  void note_steps() {
    const engine::EngineSnapshot seen = engine_->snapshot();
    while (static_cast<int>(steps_.size()) < agent_->quality().steps()) {
      steps_.push_back({seen.counters.judged_tokens, seen.kv.expected_divergence.value_or(0),
                        seen.kv.planned_divergence.value_or(0)});
    }
  }

  const std::vector<TokenId>& text_;
  const Clock& clock_;
  const quality::EvaluationText no_text_;
  quality::QualityWork work_;
  std::unique_ptr<engine::Engine> engine_;
  bench::EngineTarget target_;
  telemetry::Recorder recorder_;
  NullLog log_;
  std::optional<control::Agent> agent_;
  std::vector<Step> steps_;
};

// What answers cost while nobody steps back, with what was expected of them: by the model's test alone, and with what
// the checks of earlier ones had told.
void tell_unguarded(Choices choices, const bench::BenchModel& loaded, const std::vector<TokenId>& text,
                    const Clock& clock) {
  choices.max_delta = 1e9;
  Session session(choices, loaded, text, clock);
  Rng rng(99);
  quality::ExactFigures figures;
  double by_test = 0, corrected = 0;
  for (int i = 0; i < choices.answers; ++i) {
    const quality::ExactFindings before = session.findings();
    figures = session.check(rng, 1);
    const quality::ExactFindings after = session.findings();
    const double expected = after.sums.expected - before.sums.expected;
    by_test += expected;
    corrected += expected * before.divergence_ratio;
  }
  const auto rows = static_cast<double>(figures.rows);
  std::printf(
      "unguarded: delta %+.4f (+/- %.4f) of %.2f over %.0f positions; expected %.4f by the test, %.4f with checks, "
      "whose "
      "ratio is %.2f; own tokens %+.3f (+/- %.3f)\n",
      figures.delta_ppl, figures.delta_ppl_stderr, figures.ppl_reference, rows,
      figures.ppl_reference * std::expm1(by_test / rows), figures.ppl_reference * std::expm1(corrected / rows),
      session.findings().divergence_ratio, figures.own_delta_ppl, figures.own_delta_ppl_stderr);
}

void tell_guarded(const Choices& choices, const bench::BenchModel& loaded, const std::vector<TokenId>& text,
                  const Clock& clock) {
  for (int seed = choices.first_seed; seed < choices.first_seed + choices.seeds; ++seed) {
    Session session(choices, loaded, text, clock);
    Rng rng(static_cast<uint64_t>(seed));
    for (int i = 0; i < choices.answers; ++i) session.answer(rng);
    const quality::ExactFigures figures = session.check(rng, choices.checked);
    std::printf("seed %d: %zu steps; then delta %+.4f (+/- %.4f) over %lld positions; after", seed,
                session.steps().size(), figures.delta_ppl, figures.delta_ppl_stderr,
                static_cast<long long>(figures.rows));
    for (const Session::Step& step : session.steps()) {
      std::printf(" %llu tokens (%.4f, by plan %.4f nats)", static_cast<unsigned long long>(step.tokens), step.held,
                  step.planned);
    }
    std::printf("\n");
  }
}

int run(const Choices& choices) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  const os::SystemClock clock;
  const CallContext call{clock, Deadline::never(), {}};
  const bench::BenchModel loaded = load(choices, call);
  std::string content = choices.smoke ? std::string(2000, 'a') : os::read_text_file(choices.text, 1 << 24).value();
  for (size_t i = 0; choices.smoke && i < content.size(); ++i) content[i] = static_cast<char>('a' + i * i % 26);
  const std::vector<TokenId> text = loaded.tokenizer->encode(content, {.add_special = false});
  if (!choices.only_guarded) tell_unguarded(choices, loaded, text, clock);
  tell_guarded(choices, loaded, text, clock);
  return 0;
}

int run_arguments(int argc, char** argv) {
  Choices choices;
  for (int i = 1; i < argc; ++i) {
    const auto is = [&](const char* flag) { return std::strcmp(argv[i], flag) == 0; };
    if (is("--smoke")) {
      choices.smoke = true;
      choices.seeds = choices.answers = 1;
      continue;
    }
    if (is("--only-guarded")) {
      choices.only_guarded = true;
      continue;
    }
    if (i + 1 == argc) return 2;
    if (is("-m")) choices.model = argv[i + 1];
    if (is("--text")) choices.text = argv[i + 1];
    if (is("--spill")) choices.spill = argv[i + 1];
    if (is("--mode")) choices.mode = kv::mode_from_name(argv[i + 1]).value();
    if (is("--window")) choices.window = std::atoi(argv[i + 1]);
    if (is("--max-delta")) choices.max_delta = std::atof(argv[i + 1]);
    if (is("--seeds")) choices.seeds = std::atoi(argv[i + 1]);
    if (is("--first-seed")) choices.first_seed = std::atoi(argv[i + 1]);
    if (is("--checked")) choices.checked = std::atoi(argv[i + 1]);
    if (is("--answers")) choices.answers = std::atoi(argv[i + 1]);
    ++i;
  }
  return run(choices);
}

}  // namespace
}  // namespace infer

int main(int argc, char** argv) {
  try {
    return infer::run_arguments(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "guard: %s\n", error.what());
    return 1;
  }
}
