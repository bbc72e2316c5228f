// What one step computes: new tokens of one or several sequences, and which of them want logits; and who may stop it.
// Plain data; borrows everything.
#pragma once

#include <span>

#include "base/ids.h"
#include "base/result.h"
#include "kv/sequence_cache.h"

namespace infer::model {

struct SequenceSlice {
  kv::SequenceCache* cache;         // Tokens are appended at its length(); each cache at most once in a batch.
  std::span<const TokenId> tokens;  // At least one.
  int logits_begin;                 // Tokens [logits_begin, logits_end) of this slice want logits,
  int logits_end;
  // or, where this is given, the sum of their last hidden states instead, as the output matrix sees them: it is added
  // here, [width], in their order.
  float* hidden_sum = nullptr;
};

struct StepBatch {
  std::span<const SequenceSlice> slices;
};

// Looks whether a step shall go on, on the thread that runs it, before each layer: an error abandons the step and is
// what it ends with. What it does must be short against a layer.
class StepWatch {
 public:
  virtual ~StepWatch() = default;
  virtual Status look() = 0;
};

}  // namespace infer::model
