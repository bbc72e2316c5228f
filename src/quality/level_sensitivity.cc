#include "quality/level_sensitivity.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <span>

#include "base/format.h"
#include "base/rng.h"
#include "kernels/kernel_table.h"
#include "quality/divergence.h"

namespace infer::quality {

namespace {

constexpr int kTokensMax = 512;
constexpr int kTokensMin = 3 * kernels::kPageTokens;
// Of the text, what the model goes on from by itself: what levels cost is wanted of text that it would write. In
// another one the same change of attention moves its predictions up to twice as much (docs/internals/kv.md).
constexpr int kPromptTokens = 256;

constexpr kv::LevelPolicy kPolicies[] = {
    {.mode = kv::KvMode::kF16}, {.mode = kv::KvMode::kQ8}, {.mode = kv::KvMode::kQ4}};

// The caches at 16, 8 and 4 bits, and what was measured of the lower two.
struct Comparison {
  model::Model& model;
  std::vector<kv::SequenceCache> caches{};
  std::array<DivergenceSum, 3> divergence;
  std::array<double, 3> losses{};  // Expected, added up over the positions that were compared,
  std::array<double, 3> seen{};    // and seen.
  int positions = 0;
  std::vector<float> reference{};  // Logits of a step at 16 bits.

  // One step through all three; positions whose step began with lowered pages are compared, if they count.
  Status step(std::span<const TokenId> tokens, std::span<const TokenId> targets, bool counts, const CallContext& call) {
    const int count = static_cast<int>(tokens.size());
    const int rows = std::min(count, model.options().logits_per_step);
    const bool lowered = counts && caches[2].levels()->expected_loss() > 0;
    for (size_t i = 0; i < caches.size(); ++i) {
      const double loss = caches[i].levels()->expected_loss();
      const model::SequenceSlice slice{&caches[i], tokens, count - rows, count};
      INFER_TRY(model.run({{&slice, 1}}, call));
      if (!lowered) continue;
      if (i == 0) reference.clear();
      for (int row = 0; row < rows; ++row) compare(i, row, targets[static_cast<size_t>(count - rows + row)]);
      losses[i] += loss * rows;
      seen[i] += caches[i].levels()->seen_loss() * rows;
    }
    positions += lowered ? rows : 0;
    return {};
  }

  void compare(size_t cache, int row, TokenId target) {
    const std::span<const float> logits = model.logits(row);
    if (cache == 0) {
      reference.insert(reference.end(), logits.begin(), logits.end());
    } else {
      const auto own = std::span(reference).subspan(static_cast<size_t>(row) * logits.size(), logits.size());
      divergence[cache].add(own, logits, target);
    }
  }
};

// A token drawn from these logits.
TokenId draw(const model::Model& model, std::span<const float> logits, Rng& rng) {
  const double whole = model.kernels().log_sum_exp(logits.data(), static_cast<int>(logits.size()));
  double left = rng.uniform();
  for (size_t i = 0; i < logits.size(); ++i) {
    left -= std::exp(static_cast<double>(logits[i]) - whole);
    if (left <= 0) return static_cast<TokenId>(i);
  }
  return static_cast<TokenId>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

// What the model writes after `tokens`, at 16 bits, until there are `count`. The cache is empty before and after it.
Status go_on(model::Model& model, kv::SequenceCache& cache, int vocabulary, size_t count, std::vector<TokenId>& tokens,
             const CallContext& call) {
  Rng rng(1);
  size_t computed = 0;
  while (tokens.size() < count) {
    const size_t step =
        std::min(tokens.size() - computed, static_cast<size_t>(std::max(1, model.options().tokens_per_step)));
    const auto rows = static_cast<int>(step);
    const model::SequenceSlice slice{&cache, std::span(tokens).subspan(computed, step), rows - 1, rows};
    INFER_TRY(model.run({{&slice, 1}}, call));
    computed += step;
    if (computed == tokens.size()) {
      tokens.push_back(draw(model, model.logits(0).first(static_cast<size_t>(vocabulary)), rng));
    }
  }
  cache.truncate(0);
  return {};
}

// What one layer would cost if all of its attention went to pages at 4 bits.
void judge_layers(const kv::SequenceLevels& levels, LevelSensitivity& test) {
  for (int layer = 0; layer < levels.layers(); ++layer) {
    const double divergence =
        test.loss_to_divergence.value_or(0) * levels.cost_of(layer, kv::Level::k4) / levels.layers();
    test.layer_divergence.push_back(divergence);
    test.floors.push_back(divergence > kLayerDivergenceMax ? kv::Level::k8 : kv::Level::k4);
  }
}

}  // namespace

Result<LevelSensitivity> measure_sensitivity(model::Model& model, const tokenizer::Tokenizer& tokenizer,
                                             std::string_view text, const CallContext& call) {
  std::vector<TokenId> tokens = tokenizer.encode(text, {.add_special = true, .parse_special = false});
  const auto most = static_cast<size_t>(std::min(kTokensMax, model.options().context * model.options().sequences / 3));
  const size_t prompt = std::min({tokens.size(), static_cast<size_t>(kPromptTokens), most / 2});
  tokens.resize(prompt);
  if (most < static_cast<size_t>(kTokensMin) || prompt == 0) {
    return Error{
        ErrorCode::kUnsupported,
        format("testing the levels of the KV cache takes {} tokens and a text to begin with, but a third of the "
               "context has {}: choose a longer context",
               kTokensMin, most)};
  }
  const auto log_sum_exp = model.kernels().log_sum_exp;
  Comparison comparison{
      .model = model,
      .divergence = {DivergenceSum(log_sum_exp), DivergenceSum(log_sum_exp), DivergenceSum(log_sum_exp)}};
  for (const kv::LevelPolicy& policy : kPolicies) {
    comparison.caches.push_back(model.make_sequence());
    comparison.caches.back().set_policy(policy);
  }
  INFER_TRY(go_on(model, comparison.caches[0], tokenizer.vocabulary_size(), most, tokens, call));
  const auto step = static_cast<size_t>(std::min(kernels::kPageTokens, model.options().tokens_per_step));
  for (size_t begin = 0; begin + 1 < tokens.size(); begin += step) {
    const size_t count = std::min(step, tokens.size() - 1 - begin);
    const std::span all(tokens);
    INFER_TRY(comparison.step(all.subspan(begin, count), all.subspan(begin + 1, count), begin >= prompt, call));
  }

  LevelSensitivity test;
  test.tokens = static_cast<int>(tokens.size());
  if (comparison.positions > 0) {
    const Divergence q4 = comparison.divergence[2].result();
    test.kld_q8 = comparison.divergence[1].result().kld_mean;
    test.kld_q4 = q4.kld_mean;
    test.same_top_q4 = q4.same_top;
    const double loss = comparison.losses[2] / comparison.positions;
    const double seen = comparison.seen[2] / comparison.positions;
    if (loss > 0 && q4.kld_mean > 0) test.loss_to_divergence = q4.kld_mean / loss;
    if (seen > 0 && q4.kld_mean > 0) test.seen_to_divergence = q4.kld_mean / seen;
  }
  judge_layers(*comparison.caches[2].levels(), test);
  return test;
}

}  // namespace infer::quality
