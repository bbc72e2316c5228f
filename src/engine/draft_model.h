// A small model of the same vocabulary guesses how answers go on; the large one verifies (speculation.h).
//
// It has a KV cache of its own, with a sequence for each answer that is kept in step with the answer's text: what was
// guessed wrongly is taken back, what the text has got since is computed with the next guess. Guesses of several
// answers are made together, one token of each in a pass. A guess is the likeliest token; a draft ends before it gets
// unlikely, by the small model's own probabilities and what they have been worth so far (guess_trust.h).
//
// A text has to be read before it can be guessed on. That is done in portions, as far as a budget allows
// (ReadingBudget): only the text's end where it allows no more, or where the context of the small model is shorter.
// Guesses get worse by that, and answers stay the same, as whatever is guessed is verified.
//
// Nothing here is needed: a pass that fails costs its sequences, and after kFailuresMax of them without a guess between
// nothing is guessed any more.
// Thread safety: one thread (the engine's). Ownership: owns the runner; sequences must not outlive it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "base/time.h"
#include "engine/engine_snapshot.h"
#include "engine/guess_trust.h"
#include "engine/speculation.h"
#include "engine/step_cost.h"
#include "engine/step_runner.h"
#include "kv/sequence_cache.h"
#include "model/step_batch.h"
#include "tokenizer/tokenizer.h"

namespace infer::engine {

// kInvalidArgument, with the first token that differs and how many do, unless `draft` means the same by its tokens as
// `target`. One may have some more tokens at its end: vocabularies are filled up differently.
Status check_draft_vocabulary(const tokenizer::Tokenizer& target, const tokenizer::Tokenizer& draft);

// An answer's place in the draft model.
class DraftSequence {
 public:
  void release() { *this = DraftSequence(); }
  // Where in the text it begins; nothing while it has not begun.
  std::optional<size_t> begin() const { return cache_ ? std::optional(begin_) : std::nullopt; }

 private:
  friend class DraftModel;
  // Tokens of the text that lie in its cache, and guesses behind them that the text has confirmed.
  size_t agreed(std::span<const TokenId> text) const;

  // The cache holds text[begin_, known_) and the guesses.
  std::optional<kv::SequenceCache> cache_;
  size_t begin_ = 0, known_ = 0;
  std::vector<TokenId> guesses_;
};

// A draft that is wanted.
struct DraftJob {
  DraftSequence* sequence;
  std::span<const TokenId> text;  // Prompt and answer; its last token is the one whose successor is guessed first.
  int most;
  double least;  // The draft ends before the chance that all of it is right falls below,
  double share;  // and before that of its tokens that are expected to be right does.
  const GuessTrust* trust;
  std::vector<TokenId>* draft;        // The guesses,
  std::vector<float>* probabilities;  // and what the model gave each.
  double seconds = 0;                 // Its share of the time that the passes took.
};

class DraftModel {
 public:
  static constexpr int kFailuresMax = 3;
  // Tokens that a sequence may lack of its text and be in step with it.
  static constexpr int kLagMax = 32;

  // vocabulary: of the tokenizer, whose tokens alone are guessed.
  DraftModel(std::unique_ptr<StepRunner> runner, int vocabulary, const Clock& clock);

  bool usable() const { return failures_ < kFailuresMax; }
  // Tokens of the text that are not computed yet, the last one among them; nullopt where the text has to be read first.
  std::optional<int> lag(const DraftSequence& sequence, std::span<const TokenId> text) const;
  // Reads some of the text, up to its last token, within the budget and about `time`. False when there was nothing to
  // read or nothing could be. The status is the watch's.
  Result<bool> read(DraftSequence& sequence, std::span<const TokenId> text, Duration time, model::StepWatch& watch);
  // All sequences are in step. Of jobs that a pass has no room for nothing is guessed. An error is the watch's; all
  // others end as drafts that are short.
  Status draft(std::span<DraftJob> jobs, model::StepWatch& watch);

  // Of a pass of so many tokens; something was measured.
  const RowCost& pass_cost() const { return pass_cost_; }
  ReadingBudget& budget() { return budget_; }
  DraftModelSnapshot snapshot() const;

 private:
  // Takes back what the text does not say.
  void settle(DraftSequence& sequence, std::span<const TokenId> text) const;
  size_t choose_begin(const DraftSequence& sequence, std::span<const TokenId> text) const;
  bool can_read(std::span<const TokenId> tokens) const;
  bool has_room(size_t tokens) const;
  Status pass(model::StepWatch& watch);
  // Puts those that want a token into slices_ and working_.
  void add_first_slices(std::span<DraftJob> jobs);
  void add_next_slices();
  // The likeliest token of a row and its probability.
  struct Guess {
    TokenId token = 0;
    double probability = 0;
  };
  Guess guess(int row) const;

  const std::unique_ptr<StepRunner> runner_;
  const int vocabulary_;
  const Clock& clock_;
  RowCost pass_cost_;
  StepCost cost_;
  ReadingBudget budget_;
  int failures_ = 0;  // Since the last guess.
  int64_t passes_ = 0;
  DraftModelSnapshot counters_;
  struct Working {
    DraftJob* job;
    double chance = 1;  // That all of its draft is right.
    double right = 0;   // Tokens of it that are expected to be.
  };
  std::vector<Working> working_;  // One for each slice.
  std::vector<model::SequenceSlice> slices_;
};

}  // namespace infer::engine
