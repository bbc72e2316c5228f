#include "app/draft_gain.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "base/check.h"
#include "engine/engine.h"
#include "measure/statistics.h"

namespace infer::app {

namespace {

constexpr int kTurns = 5;
constexpr float kTemperature = 0.7f;

struct Answers {
  double tokens_per_second = 0;
  int drafted = 0, accepted = 0;
};

engine::Request request_of(const DraftWork& work, size_t number, bool speculate, const CallContext& call) {
  const auto prompt = static_cast<size_t>(work.prompt);
  const size_t begin = number * prompt % (work.text.size() - prompt);
  const std::span<const TokenId> tokens = work.text.subspan(begin, prompt);
  return {.prompt = {tokens.begin(), tokens.end()},
          .options = {.tokens_max = work.generated, .ignore_end_tokens = true},
          .sampling = {.temperature = kTemperature, .seed = number},
          .limits = {call.deadline},
          .speculate = speculate};
}

// Speed is from the first token of all to the last one, prompts that are computed meanwhile included.
Result<Answers> answer(engine::Engine& engine, const DraftWork& work, size_t turn, bool speculate,
                       const CallContext& call) {
  std::vector<engine::RequestHandle> handles;
  for (int i = 0; i < work.sequences; ++i) {
    const size_t number = turn * static_cast<size_t>(work.sequences) + static_cast<size_t>(i);
    engine::Submitted submitted = engine.submit(request_of(work, number, speculate, call));
    INFER_TRY(submitted.status);
    handles.push_back(*std::move(submitted.handle));
  }
  Answers answers;
  Instant first = Instant::never(), last{};
  int tokens = 0;
  for (const engine::RequestHandle& handle : handles) {
    const engine::RequestResult result = engine::read_answer(*handle, call).result;
    INFER_TRY(call.check("measuring drafts"));
    if (result.error) return *result.error;
    if (!result.first_token || !result.last_token) continue;
    first = std::min(first, *result.first_token);
    last = std::max(last, *result.last_token);
    tokens += result.generated_tokens - 1;
    answers.drafted += result.drafted_tokens;
    answers.accepted += result.accepted_tokens;
  }
  if (last > first) answers.tokens_per_second = tokens / (last - first).seconds();
  return answers;
}

}  // namespace

Result<DraftGain> measure_draft_gain(const LoadedModel& loaded, const kv::LevelPolicy& levels, const DraftWork& work,
                                     const CallContext& call, Services& services) {
  INFER_CHECK(work.text.size() > static_cast<size_t>(work.prompt));
  engine::EngineLimits limits;
  limits.running_max = work.sequences;
  limits.stream_tokens = static_cast<size_t>(work.generated) + 1;
  limits.speculation.draft_max = work.draft_max;
  INFER_ASSIGN(const auto engine,
               engine::Engine::start(services.make_runner(*loaded.model), *loaded.tokenizer, limits, call.clock));
  engine->change_levels(levels);
  DraftGain gain;
  std::vector<double> ratios;
  for (size_t turn = 0; turn < kTurns; ++turn) {
    Answers with, without;
    for (const bool speculate : {turn % 2 == 0, turn % 2 != 0}) {
      INFER_ASSIGN((speculate ? with : without), answer(*engine, work, turn, speculate, call));
    }
    if (without.tokens_per_second > 0) ratios.push_back(with.tokens_per_second / without.tokens_per_second);
    gain.drafted += with.drafted;
    gain.accepted += with.accepted;
  }
  if (!ratios.empty()) gain.ratio = measure::summarize(ratios).median;
  return gain;
}

}  // namespace infer::app
