// Drafts of what the answer of one conversation says next, from the text itself or by a draft model, as many as pay
// (speculation.h). What a conversation is without them it stays with them: each is verified.
//
// propose() after each token; after the step with the draft behind the token, verified(). What is learnt of costs and
// of how good drafts are stays from turn to turn and from conversation to conversation. Ownership: owns the draft
// model's runner. Thread safety: one thread (the engine's).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/call_context.h"
#include "base/ids.h"
#include "base/result.h"
#include "base/time.h"
#include "engine/draft_lookup.h"
#include "engine/draft_model.h"
#include "engine/speculation.h"
#include "engine/step_cost.h"
#include "engine/step_runner.h"

namespace infer::engine {

class ConversationDrafts {
 public:
  // runner: of a draft model with the vocabulary of the tokenizer, of which `vocabulary` tokens are guessed; or null.
  ConversationDrafts(const SpeculationLimits& limits, std::unique_ptr<StepRunner> runner, int vocabulary,
                     const Clock& clock);

  // Another text begins.
  void begin();
  // A step without drafts, of a prompt or of a token, took so long.
  void observe_step(int tokens, Duration time);
  // What may come behind the text, at most `most` tokens. The text is the one before, and more. An error is that of the
  // call; a draft model that fails guesses nothing.
  Result<std::span<const TokenId>> propose(std::span<const TokenId> text, int most, const CallContext& call);
  // The step of one token and the draft took so long, and the first `accepted` of the draft were right.
  void verified(int accepted, Duration time);

  // All in all.
  uint64_t drafted() const { return drafted_; }
  uint64_t accepted() const { return accepted_; }

 private:
  Status read(std::span<const TokenId> text, model::StepWatch& watch);
  Status guess(std::span<const TokenId> text, const StepRows& step, model::StepWatch& watch);

  const SpeculationLimits limits_;
  std::optional<DraftModel> model_;
  DraftLookup lookup_;
  DraftSequence sequence_;
  Speculation speculation_;
  RowCost row_cost_;
  StepCost cost_;
  DraftChoice choice_;
  std::vector<TokenId> draft_;
  std::vector<float> probabilities_;
  double draft_seconds_ = 0;  // That the draft model took for it.
  uint64_t drafted_ = 0, accepted_ = 0;
};

}  // namespace infer::engine
