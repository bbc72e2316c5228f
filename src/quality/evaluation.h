// An evaluation in portions: what the levels of the KV cache cost on a text, against the same text with 16 bits.
//
// The text's tokens are cut into windows that do not overlap; each is computed in an empty cache, and its second half
// is scored, as in quality/perplexity.h. One portion is one step through one of the two caches, so that an evaluation
// can go on whenever there is time for a step and stop at any moment: a step that was given up is done again, and with
// fewer tokens when that happens again and again (quality/portion.h); a window whose pages had to go is begun again,
// what was scored before it stays. Steps have 64 tokens at most, because pages are lowered between steps: figures are
// the same bits as long as no step had to be shorter. Thread safety: one thread (the engine's). Ownership: its caches
// hold pages of the runner's pool until it ends or release_pages() is called.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "engine/step_runner.h"
#include "kv/level_policy.h"
#include "kv/sequence_cache.h"
#include "model/step_batch.h"
#include "quality/divergence.h"
#include "quality/portion.h"

namespace infer::quality {

struct EvaluationTask {
  std::span<const TokenId> tokens;  // Borrowed; at least `windows` windows of them.
  int window = 512;
  int windows = 1;
  std::optional<TokenId> bos{};  // Becomes the first token of each window.
  kv::LevelPolicy levels{};
};

class Evaluation {
 public:
  // The task makes sense: 4 <= window <= the runner's context, windows >= 1.
  Evaluation(EvaluationTask task, LogSumExp log_sum_exp);

  // One portion. The error is the runner's; after one the same call may be tried again.
  Status step(engine::StepRunner& runner, model::StepWatch& watch, Instant now);

  bool done() const { return windows_done_ == task_.windows; }
  int windows_done() const { return windows_done_; }
  const EvaluationTask& task() const { return task_; }
  int64_t positions() const { return sum_.count(); }
  // Of the windows that are done, at least one.
  Divergence figures() const { return sum_.result(); }

  int64_t pages_held() const;
  int64_t pages_wanted(engine::StepRunner& runner) const { return 2 * runner.pages_for(task_.window); }
  void release_pages();

 private:
  void begin_window(engine::StepRunner& runner);
  TokenId token(int position) const;
  int inputs() const { return task_.window - 1; }  // Of a window: the last token is only predicted.
  int reference_tokens(engine::StepRunner& runner, int unscored) const;
  void keep_reference(engine::StepRunner& runner, std::vector<TokenId> tokens, int rows);
  void score(engine::StepRunner& runner, int count, int rows);
  void end_window();

  const EvaluationTask task_;
  std::optional<kv::SequenceCache> reference_, changed_;
  int windows_done_ = 0;
  int position_ = 0;  // Of the window: tokens that are in both caches.
  // Behind position_, those in the reference's cache alone, and its logits of the scored ones.
  std::vector<TokenId> step_tokens_;
  std::vector<float> reference_rows_;
  Portion portion_;
  DivergenceSum sum_;                   // Of whole windows,
  DivergenceSum sum_with_this_window_;  // and with what is scored of this one.
};

}  // namespace infer::quality
