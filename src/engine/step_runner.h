// What computes the engine's steps: a model, or in simulations something that takes its place. The pages and sequences
// are real in both.
// Thread safety: one thread (the engine's).
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "base/result.h"
#include "base/time.h"
#include "kv/page_pool.h"
#include "kv/sequence_cache.h"
#include "model/model.h"
#include "model/step_batch.h"

namespace infer::engine {

class StepRunner {
 public:
  virtual ~StepRunner() = default;

  virtual int context() const = 0;     // Tokens of one sequence; the pool has pages for at least one.
  virtual int width() const = 0;       // Of a hidden state.
  virtual int vocabulary() const = 0;  // Entries of a row of logits.
  virtual int tokens_per_step() const = 0;
  virtual int logits_per_step() const = 0;
  // Of all that decides what keys and values tokens get.
  virtual uint64_t fingerprint() const = 0;
  // The most pages that a sequence of `tokens` tokens holds.
  virtual int64_t pages_for(int tokens) const = 0;

  virtual kv::PagePool& pages() = 0;
  virtual kv::SequenceCache make_sequence() = 0;
  // What new sequences do with their pages, and what they shall do from now on.
  virtual kv::LevelPolicy levels() const = 0;
  virtual void set_levels(const kv::LevelPolicy& levels) = 0;
  // As Model::run.
  virtual Status run(const model::StepBatch& batch, model::StepWatch& watch, Instant now) = 0;
  virtual std::span<const float> logits(int row) const = 0;
  // Of a row: what the log probability of a token is measured from.
  virtual double log_sum_exp(std::span<const float> logits) const = 0;
};

// Borrows the model.
std::unique_ptr<StepRunner> make_model_runner(model::Model& model);

}  // namespace infer::engine
