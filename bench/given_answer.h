// A runner that computes all that its model computes, and then makes the answer a given text: of each row's logits,
// that of the token which comes next in it is made the largest. So an answer that quotes its prompt can be timed with
// any model, where the small ones at hand write no code and no summaries. Invariants: a text's tokens are taken by
// their place in the sequence, so that rows behind a wrong guess do no harm. Ownership: owns the runner below it.
// Thread safety: one thread (the engine's).
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "engine/step_runner.h"
#include "testing/wrapped_runner.h"

namespace infer::bench {

class GivenAnswer final : public testing::WrappedRunner {
 public:
  // text: of prompt and answer; what comes behind it is the model's own.
  GivenAnswer(std::unique_ptr<engine::StepRunner> runner, std::vector<TokenId> text)
      : WrappedRunner(std::move(runner)), text_(std::move(text)) {}

  Status run(const model::StepBatch& batch, model::StepWatch& watch, Instant now) override {
    places_.clear();
    for (const model::SequenceSlice& slice : batch.slices) {
      const auto begin = static_cast<size_t>(slice.cache->length());
      for (int i = slice.logits_begin; i < slice.logits_end; ++i) {
        if (slice.hidden_sum == nullptr) places_.push_back(begin + static_cast<size_t>(i) + 1);
      }
    }
    return WrappedRunner::run(batch, watch, now);
  }

  std::span<const float> logits(int row) const override {
    const std::span<const float> computed = WrappedRunner::logits(row);
    const size_t place = places_[static_cast<size_t>(row)];
    if (place >= text_.size()) return computed;
    row_.assign(computed.begin(), computed.end());
    row_[static_cast<size_t>(text_[place])] = kCertain;
    return row_;
  }

 private:
  static constexpr float kCertain = 1e6f;

  std::vector<TokenId> text_;
  std::vector<size_t> places_;      // In the text, of the token behind each row of logits.
  mutable std::vector<float> row_;  // [vocabulary] The last one that was asked for.
};

}  // namespace infer::bench
