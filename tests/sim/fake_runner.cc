#include "fake_runner.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "testing/byte_tokenizer.h"

namespace infer::sim {

namespace {

constexpr kv::PageShape kShape{.kv_heads = 1, .head_dim = 16};
constexpr size_t kTokenBytes = sizeof(uint64_t);
constexpr TokenId kEos = 257;

uint64_t mix(uint64_t state, TokenId token) {
  state = (state ^ static_cast<uint64_t>(token + 1)) * 0x9E3779B97F4A7C15ull;
  return state ^ (state >> 29);
}

// Behind the token that led to the state.
TokenId next_token(const FakeModel& model, uint64_t state, TokenId last) {
  Rng rng(state);
  if (model.lies > 0 && Rng(~state).uniform() < model.lies) return static_cast<TokenId>(state % kPoison);
  if (rng.uniform() < model.end_share) return kEos;
  if (rng.uniform() < model.repetition) return (7 * last + 3) % kPoison;
  return static_cast<TokenId>(rng.below(kPoison));
}

std::byte* place(kv::SequenceCache& cache, int layer, int position) {
  return cache.writable_part(layer, position / kv::kPageTokens, 0) +
         static_cast<size_t>(position % kv::kPageTokens) * kTokenBytes;
}

uint64_t state_at(kv::SequenceCache& cache, int layer, int position) {
  if (position < 0) return 0;
  uint64_t state = 0;
  std::memcpy(&state, place(cache, layer, position), sizeof state);
  return state;
}

}  // namespace

FakeRunner::FakeRunner(const FakeModel& model, testing::TestClock& clock, Rng& rng,
                       std::function<void()> between_layers)
    : model_(model),
      clock_(clock),
      rng_(rng),
      between_layers_(std::move(between_layers)),
      pool_(kv::PagePool::make(kShape, static_cast<int>(model.pages)).value()),
      logits_(static_cast<size_t>(model.logits_per_step), std::vector<float>(testing::kByteTokens, 0.0f)),
      chosen_(logits_.size(), 0) {}

int FakeRunner::vocabulary() const { return testing::kByteTokens; }

kv::SequenceCache FakeRunner::make_sequence() {
  const std::vector<int> windows(static_cast<size_t>(model_.layers), 0);
  return {*pool_, windows, model_.context};
}

void FakeRunner::write(const model::SequenceSlice& slice) {
  for (int layer = 0; layer < model_.layers; ++layer) {
    int position = slice.cache->length();
    uint64_t state = state_at(*slice.cache, layer, position - 1);
    states_.clear();
    for (const TokenId token : slice.tokens) {
      state = mix(state, token);
      std::memcpy(place(*slice.cache, layer, position++), &state, sizeof state);
      states_.push_back(state);
    }
  }
  for (int i = slice.logits_begin; i < slice.logits_end; ++i) {
    INFER_CHECK(rows_ < model_.logits_per_step);
    const auto row = static_cast<size_t>(rows_++), at = static_cast<size_t>(i);
    logits_[row][static_cast<size_t>(chosen_[row])] = 0;
    chosen_[row] = next_token(model_, states_[at], slice.tokens[at]);
    logits_[row][static_cast<size_t>(chosen_[row])] = 1;
  }
}

// Nothing of the engine runs for a while, its clients do.
void FakeRunner::hang() {
  for (uint32_t left = rng_.below(120); left > 0; --left) {
    clock_.advance(Duration::from_ms(100));
    between_layers_();
  }
}

Status FakeRunner::compute(const model::StepBatch& batch, model::StepWatch& watch) {
  size_t tokens = 0;
  bool poisoned = false;
  for (const model::SequenceSlice& slice : batch.slices) {
    tokens += slice.tokens.size();
    poisoned |= std::find(slice.tokens.begin(), slice.tokens.end(), kPoison) != slice.tokens.end();
  }
  INFER_CHECK(tokens > 0 && tokens <= static_cast<size_t>(model_.tokens_per_step));
  constexpr int kLayers = 4;  // Looks at the watch per step.
  const int64_t time = model_.fixed.ns() + static_cast<int64_t>(tokens) * model_.per_token.ns();
  const Duration layer_time = Duration::from_ns(time / kLayers);
  longest_layer_ = std::max(longest_layer_, layer_time);
  const bool fails = poisoned || rng_.uniform() < model_.failures;
  for (int layer = 0; layer < kLayers; ++layer) {
    INFER_TRY(watch.look());
    clock_.advance(layer_time);
    between_layers_();
    if (layer == 2 && model_.hangs > 0 && rng_.uniform() < model_.hangs) hang();
    if (fails && layer == 1) return Error{ErrorCode::kInternal, "this step was to fail"};
  }
  rows_ = 0;
  for (const model::SequenceSlice& slice : batch.slices) write(slice);
  return {};
}

Status FakeRunner::run(const model::StepBatch& batch, model::StepWatch& watch, Instant) {
  Status status;
  for (const model::SequenceSlice& slice : batch.slices) {
    if (status) status = slice.cache->reserve(static_cast<int>(slice.tokens.size()));
  }
  if (status) status = compute(batch, watch);
  for (const model::SequenceSlice& slice : batch.slices) {
    if (status) {
      slice.cache->commit(static_cast<int>(slice.tokens.size()));
    } else {
      slice.cache->release_reserved();
    }
  }
  return status;
}

std::span<const float> FakeRunner::logits(int row) const {
  INFER_CHECK(row < rows_);
  return logits_[static_cast<size_t>(row)];
}

std::vector<TokenId> expected_answer(const FakeModel& model, std::span<const TokenId> prompt, int tokens_max,
                                     grammar::Constraint* constraint) {
  uint64_t state = 0;
  for (const TokenId token : prompt) state = mix(state, token);
  std::vector<TokenId> answer;
  TokenId last = prompt.back();
  int left = model.context + 1 - static_cast<int>(prompt.size());
  if (tokens_max >= 0) left = std::min(left, tokens_max);
  while (static_cast<int>(answer.size()) < left && !(constraint && constraint->must_end())) {
    TokenId token = next_token(model, state, last);
    if (constraint && !constraint->allows(token)) {
      token = 0;
      while (!constraint->allows(token)) ++token;
    }
    if (token == kEos) break;
    if (constraint) constraint->accept(token);
    answer.push_back(token);
    last = token;
    state = mix(state, token);
  }
  return answer;
}

}  // namespace infer::sim
