// A setting tried out on this machine: how fast answers come with it, and what it costs in quality, both measured.
//
// So many texts at once, each a piece of the same text: their prompts are computed, then what follows is decoded token
// by token, as in answering, but with the tokens that the text has. Speed is of those steps; quality is the divergence
// of the first text's predictions from those of a 16-bit cache, which are computed once and kept for other trials of
// the same text (TrialReference). One portion is one step, so that a trial can go on whenever there is time for one; a
// step that was given up is done again and its time does not count.
// Thread safety: one thread (the engine's). Ownership: its caches hold pages of the runner's pool until it ends or
// release_pages() is called, after which it begins anew.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "base/time.h"
#include "engine/step_runner.h"
#include "kv/level_policy.h"
#include "kv/sequence_cache.h"
#include "model/step_batch.h"
#include "quality/divergence.h"

namespace infer::quality {

struct TrialTask {
  std::span<const TokenId> tokens;  // Borrowed; piece i begins at i * (prompt + decoded) and wraps around.
  std::optional<TokenId> bos{};     // Becomes the first token of each piece.
  int prompt = 256;
  int decoded = 32;
  int sequences = 1;  // At once.
  kv::LevelPolicy levels{};
};

struct TrialFigures {
  double tokens_per_second = 0;  // Decoded, all sequences together.
  double first_token_ms = 0;     // Of one prompt.
  double ppl = 0;                // Of the first text with 16 bits,
  double delta_ppl = 0;          // and above it: ppl * (exp(divergence) - 1), as exact checks have it,
  double delta_stderr = 0;
  double kv_share = 0;  // Bytes of the KV cache, of those with 16 bits.
};

// Predictions with 16 bits of what is decoded of the first piece.
struct TrialReference {
  std::vector<float> rows;  // [decoded][vocabulary]; empty: not computed.
};

class Trial {
 public:
  // 1 <= prompt, decoded, sequences; sequences at most the runner's tokens and logits of a step; prompt + decoded
  // within its context and at most the tokens of the text.
  Trial(const TrialTask& task, LogSumExp log_sum_exp, int vocabulary, TrialReference& reference);

  // One portion. The error is the runner's; after one the same call may be tried again.
  Status step(engine::StepRunner& runner, model::StepWatch& watch, const Clock& clock);
  bool done() const { return decoded_ == task_.decoded; }
  // When done.
  TrialFigures figures() const;

  int64_t pages_held() const;
  int64_t pages_wanted(engine::StepRunner& runner) const;
  void release_pages();

 private:
  TokenId token(int sequence, int position) const;
  Status step_reference(engine::StepRunner& runner, model::StepWatch& watch, Instant now);
  Status step_prompt(engine::StepRunner& runner, model::StepWatch& watch, const Clock& clock);
  Status step_decode(engine::StepRunner& runner, model::StepWatch& watch, const Clock& clock);
  int length() const { return task_.prompt + task_.decoded; }

  const TrialTask task_;
  const LogSumExp log_sum_exp_;
  const size_t vocabulary_;
  TrialReference& reference_;
  std::vector<kv::SequenceCache> caches_;
  std::optional<kv::SequenceCache> reference_cache_;
  std::vector<TokenId> step_tokens_;
  int decoded_ = 0;
  double prompt_seconds_ = 0;
  std::vector<double> decode_seconds_;  // Of each step.
  double kld_ = 0, kld_squares_ = 0, nll_ = 0;
  double kv_share_ = 0;
};

}  // namespace infer::quality
