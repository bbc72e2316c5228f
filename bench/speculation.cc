// What drafts gain, from the text itself and by a draft model: the same answers of the engine with and without, in
// turns.
//
//   speculation [-m MODEL.gguf] [--draft MODEL.gguf] [--text TEXT | --random | --case PREFIX] [--drawn]
//               [--temperature X] [--tokens N] [--rounds N] [--at-once N] [--smoke]
//
// --random takes a prompt of random tokens, --drawn draws (at temperature 1) instead of taking the likeliest token.
// --case takes the prompt of PREFIX_prompt.txt and makes the answer that of PREFIX_answer.txt, whole, whatever the
// model thinks of it (given_answer.h): bench/texts/edit is an edit of code, bench/texts/summary a summary with quotes.
// The smoke size runs on small random models. Each line is a round: tokens per second without and with, the ratio, and
// how many drafted tokens were right; the last one has the median ratio.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "base/rng.h"
#include "bench_model.h"
#include "engine/draft_model.h"
#include "engine/engine.h"
#include "given_answer.h"
#include "kernels/dispatch.h"
#include "os/cpu_features.h"
#include "os/system_clock.h"
#include "os/text_file.h"
#include "testing/machine_kernels.h"

namespace infer {
namespace {

constexpr size_t kContext = 2048;

struct Choices {
  std::string model, draft;
  float temperature = 1;
  std::string text = "once upon a time there was a king, and once upon a time there was a queen, and once upon a time";
  std::string given;  // Of two files, what their names begin with.
  bool random = false;
  bool drawn = false;
  bool smoke = false;
  int tokens = 128;
  int rounds = 5;
  int at_once = 1;
};

struct Measured {
  double tokens_per_second = 0;
  std::vector<TokenId> tokens;
  int drafted = 0;
  int accepted = 0;
};

Measured measure(engine::Engine& engine, const std::vector<TokenId>& prompt, const Choices& choices, bool speculate,
                 const Clock& clock) {
  const CallContext call{clock, Deadline::never(), {}};
  std::vector<engine::RequestHandle> handles;
  for (int i = 0; i < choices.at_once; ++i) {
    engine::Request request{
        .prompt = prompt,
        .options = {.tokens_max = choices.tokens, .ignore_end_tokens = true},
        .sampling = {.temperature = choices.drawn ? choices.temperature : 0.0f, .top_k = 0, .top_p = 1, .min_p = 0},
        .limits = {Deadline::never()},
        .speculate = speculate};
    request.prompt.front() = static_cast<TokenId>(i % 7);  // Different texts.
    handles.push_back(*std::move(engine.submit(std::move(request)).handle));
  }
  Measured measured;
  for (const engine::RequestHandle& handle : handles) {
    const engine::Answer answer = engine::read_answer(*handle, call);
    const engine::RequestResult& result = answer.result;
    measured.tokens_per_second += (result.generated_tokens - 1) / (*result.last_token - *result.first_token).seconds();
    measured.drafted += result.drafted_tokens;
    measured.accepted += result.accepted_tokens;
    measured.tokens.insert(measured.tokens.end(), answer.tokens.begin(), answer.tokens.end());
  }
  return measured;
}

// A prompt, and the answer that is given; empty where it is the model's own.
struct Task {
  std::vector<TokenId> prompt, answer;
};

Task make_task(const Choices& choices, const tokenizer::Tokenizer& tokenizer) {
  constexpr size_t kTextMax = 1 << 20;
  const auto encode = [&](const std::string& text) { return tokenizer.encode(text, {.add_special = false}); };
  if (!choices.given.empty()) {
    const auto read = [&](const char* part) {
      Result<std::string> text = os::read_text_file(choices.given + part, kTextMax);
      if (text && !text->empty()) return *std::move(text);
      const std::string why = text ? choices.given + part + " is empty" : text.error().message;
      std::fprintf(stderr, "%s\n", why.c_str());
      std::exit(1);
    };
    return {encode(read("_prompt.txt")), encode(read("_answer.txt"))};
  }
  Task task{encode(choices.text), {}};
  if (choices.random) {
    Rng rng(1);
    for (TokenId& token : task.prompt)
      token = static_cast<TokenId>(rng.below(static_cast<uint32_t>(tokenizer.vocabulary_size())));
  }
  return task;
}

int run(Choices choices) {
  const os::SystemClock clock;
  const bench::BenchModel loaded = bench::load_bench_model(
      choices.smoke ? "" : choices.model, {.context = kContext, .sequences = choices.at_once, .logits_per_step = 24},
      {clock, Deadline::never(), {}});
  const Task task = make_task(choices, *loaded.tokenizer);
  if (!task.answer.empty()) choices.tokens = static_cast<int>(task.answer.size());
  if (const size_t wanted = task.prompt.size() + static_cast<size_t>(choices.tokens); wanted > kContext) {
    std::fprintf(stderr, "prompt and answer are %zu tokens, and %zu fit: take fewer\n", wanted, kContext);
    return 1;
  }
  engine::EngineLimits limits;
  limits.stream_tokens = static_cast<size_t>(choices.tokens) + 1;
  bench::BenchModel draft;
  engine::EngineParts parts;
  if (choices.smoke || !choices.draft.empty()) {
    draft = bench::load_bench_model(
        choices.draft, {.context = kContext, .sequences = choices.at_once, .logits_per_step = choices.at_once},
        {clock, Deadline::never(), {}}, &loaded);
    if (const Status same = engine::check_draft_vocabulary(*loaded.tokenizer, *draft.tokenizer); !same) {
      std::fprintf(stderr, "%s\n", same.error().message.c_str());
      return 1;
    }
    parts.draft = engine::make_model_runner(draft.get());
  }
  std::unique_ptr<engine::StepRunner> runner = engine::make_model_runner(loaded.get());
  if (!task.answer.empty()) {
    std::vector<TokenId> text = task.prompt;
    text.insert(text.end(), task.answer.begin(), task.answer.end());
    runner = std::make_unique<bench::GivenAnswer>(std::move(runner), std::move(text));
  }
  const auto engine =
      engine::Engine::start(std::move(runner), *loaded.tokenizer, limits, clock, std::move(parts)).value();
  std::vector<double> ratios;
  for (int round = 0; round < choices.rounds; ++round) {
    const Measured without = measure(*engine, task.prompt, choices, false, clock);
    const Measured with = measure(*engine, task.prompt, choices, true, clock);
    if (with.tokens != without.tokens || (choices.at_once == 1 && !task.answer.empty() && with.tokens != task.answer)) {
      std::printf("the answers differ\n");
      return 1;
    }
    ratios.push_back(with.tokens_per_second / without.tokens_per_second);
    std::printf("without %.1f, with %.1f tokens/s: %.3f; %d of %d drafted tokens accepted\n", without.tokens_per_second,
                with.tokens_per_second, ratios.back(), with.accepted, with.drafted);
    std::fflush(stdout);
  }
  const engine::EngineSnapshot seen = engine->snapshot();
  for (const auto source : {engine::DraftSource::kText, engine::DraftSource::kModel}) {
    const engine::DraftCounters& counters = seen.counters.drafts[static_cast<size_t>(source)];
    std::printf("by the %s: %llu of %llu accepted\n", engine::draft_source_name(source),
                static_cast<unsigned long long>(counters.accepted), static_cast<unsigned long long>(counters.drafted));
  }
  if (seen.draft_model) {
    std::printf("the draft model computed %llu tokens in %.2f s\n",
                static_cast<unsigned long long>(seen.draft_model->computed_tokens), seen.draft_model->time.seconds());
  }
  std::sort(ratios.begin(), ratios.end());
  std::printf("median %.3f (%.3f to %.3f)\n", ratios[ratios.size() / 2], ratios[ratios.size() / 4],
              ratios[ratios.size() * 3 / 4]);
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
    if (name == "--draft") choices.draft = value();
    if (name == "--temperature") choices.temperature = static_cast<float>(std::atof(value()));
    if (name == "--text") choices.text = value();
    if (name == "--case") choices.given = value();
    if (name == "--random") choices.random = true;
    if (name == "--drawn") choices.drawn = true;
    if (name == "--tokens") choices.tokens = std::atoi(value());
    if (name == "--rounds") choices.rounds = std::atoi(value());
    if (name == "--at-once") choices.at_once = std::atoi(value());
    if (name == "--smoke") choices.smoke = true;
  }
  if (choices.smoke) {
    choices.tokens = 24;
    choices.rounds = 2;
    choices.at_once = 3;
  }
  if (!choices.smoke && choices.model.empty()) {
    std::fprintf(stderr,
                 "usage: speculation -m MODEL.gguf [--draft MODEL.gguf] [--text TEXT | --random | --case PREFIX] "
                 "[--tokens N] [--rounds N]\n");
    return 2;
  }
  return infer::run(choices);
}
