// What lowering the KV cache really did to answers that were given: their tokens once more through a cache of 16 bits,
// in portions, against what the cache in use said of them at the time.
//
// Divergence and agreement come from the rows of logits that a sample kept. What lowering costs in perplexity follows
// from the divergence: it is what text that 16 bits would write is less likely on average. An answer's own tokens do
// not say it, because they were drawn from what the lowered cache said: those are likelier there, the more so the worse
// it is. Their difference is told apart. Nothing is lowered in the cache used here, so steps may be of any length.
// Thread safety: one thread (the engine's). Ownership: holds pages of the runner's pool until done or release_pages().
#pragma once

#include <cstdint>
#include <optional>

#include "base/result.h"
#include "engine/answer_sample.h"
#include "engine/step_runner.h"
#include "kv/sequence_cache.h"
#include "model/step_batch.h"
#include "quality/divergence.h"
#include "quality/portion.h"

namespace infer::quality {

// Sums over positions, which can be added up over answers.
struct ExactSums {
  int64_t tokens = 0;  // Scored.
  double reference_nll = 0;
  double difference = 0, difference_squares = 0;  // Of negative log-likelihoods, in use less 16 bits.
  int64_t rows = 0;                               // Compared whole.
  double kld = 0, kld_squares = 0;
  int64_t same_top = 0;
  int64_t rows_expected = 0;              // Of the rows, those of which the cache had foreseen something:
  double expected = 0, expected_kld = 0;  // that, and what it was.

  void add(const ExactSums& other);
};

struct ExactFigures {
  int64_t tokens = 0, rows = 0;
  double ppl_reference = 0;                            // Of the answers' tokens.
  double own_delta_ppl = 0, own_delta_ppl_stderr = 0;  // Of the same, in use less 16 bits.
  // Of text as 16 bits would write it: ppl_reference * (exp(kld_mean) - 1). 0 without rows.
  double delta_ppl = 0, delta_ppl_stderr = 0;
  double kld_mean = 0, kld_stderr = 0;  // 0 without rows.
  double same_top = 0, same_top_stderr = 0;
};
// Of at least one token.
ExactFigures exact_figures(const ExactSums& sums);

class ExactCheck {
 public:
  // The sample has scores.
  ExactCheck(engine::AnswerSample sample, LogSumExp log_sum_exp, int vocabulary);

  // One portion, at most one step. The error is the runner's; after one the same call may be tried again.
  Status step(engine::StepRunner& runner, model::StepWatch& watch, Instant now);
  bool done() const { return next_score_ == sample_.scores.size(); }
  int arm() const { return sample_.arm; }
  // Of what was scored so far.
  const ExactSums& sums() const { return sums_; }

  int64_t pages_held() const { return cache_ ? cache_->pages_held() : 0; }
  int64_t pages_wanted(engine::StepRunner& runner) const {
    return runner.pages_for(static_cast<int>(sample_.tokens.size()));
  }
  // What was scored stays; the tokens before have to be computed again.
  void release_pages() { cache_.reset(); }

 private:
  // logits: of 16 bits, from which the token at `position` was predicted.
  void score(int position, std::span<const float> logits);

  const engine::AnswerSample sample_;
  const LogSumExp log_sum_exp_;
  const size_t vocabulary_;
  std::optional<kv::SequenceCache> cache_;
  Portion portion_;
  size_t next_score_ = 0, next_row_ = 0;
  ExactSums sums_;
};

}  // namespace infer::quality
