// Takes the model's place: computes steps in virtual time, on real pages.
//
// Each token's place in the cache gets a hash of all tokens up to it, made from the hash in the place before as it lies
// in the page. The logits of a token follow from that hash. A page that was lost, mixed up or overwritten therefore
// shows in the answer, which `expected_answer` tells from the tokens alone.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/rng.h"
#include "engine/step_runner.h"
#include "grammar/token_automaton.h"
#include "testing/test_clock.h"

namespace infer::sim {

// A token that makes each step with it fail.
inline constexpr TokenId kPoison = 255;

struct FakeModel {
  int layers = 2;
  int context = 512;
  int tokens_per_step = 128;
  int logits_per_step = 8;
  int64_t pages = 32;
  Duration fixed = Duration::from_us(4000);  // Of a step,
  Duration per_token = Duration::from_us(300);
  double failures = 0;      // Share of steps that fail for no reason,
  double hangs = 0;         // and of those that hang for some seconds.
  double end_share = 0.02;  // Of tokens that end an answer.
  double lies = 0;          // Of answers' tokens that are other ones than without.
  double repetition = 0;    // Of tokens that follow from the one before alone, so that answers repeat themselves.
};

class FakeRunner final : public engine::StepRunner {
 public:
  // `between_layers` is called as time passes inside a step.
  FakeRunner(const FakeModel& model, testing::TestClock& clock, Rng& rng, std::function<void()> between_layers);

  int context() const override { return model_.context; }
  int width() const override { return 1; }
  int vocabulary() const override;
  int tokens_per_step() const override { return model_.tokens_per_step; }
  int logits_per_step() const override { return model_.logits_per_step; }
  uint64_t fingerprint() const override { return 1; }
  int64_t pages_for(int tokens) const override { return int64_t{kv::pages_for_tokens(tokens)} * model_.layers; }
  kv::PagePool& pages() override { return *pool_; }
  kv::SequenceCache make_sequence() override;
  // Its pages are never lowered: there is nothing to attend to.
  kv::LevelPolicy levels() const override { return {}; }
  void set_levels(const kv::LevelPolicy&) override {}
  Status run(const model::StepBatch& batch, model::StepWatch& watch, Instant now) override;
  std::span<const float> logits(int row) const override;
  double log_sum_exp(std::span<const float>) const override { return 0; }  // Its logits are no distribution.

  Duration longest_layer() const { return longest_layer_; }

 private:
  void hang();
  Status compute(const model::StepBatch& batch, model::StepWatch& watch);
  void write(const model::SequenceSlice& slice);

  FakeModel model_;
  testing::TestClock& clock_;
  Rng& rng_;
  std::function<void()> between_layers_;
  std::unique_ptr<kv::PagePool> pool_;
  std::vector<std::vector<float>> logits_;
  std::vector<uint64_t> states_;  // Of a slice.
  std::vector<TokenId> chosen_;   // The one logit of each row that is not zero.
  int rows_ = 0;
  Duration longest_layer_;
};

// What the model answers to the prompt when it is asked for the likeliest token each time: at most tokens_max. With a
// constraint (else null), what it says instead is the allowed token with the lowest id, as all other logits are equal.
std::vector<TokenId> expected_answer(const FakeModel& model, std::span<const TokenId> prompt, int tokens_max,
                                     grammar::Constraint* constraint);

}  // namespace infer::sim
