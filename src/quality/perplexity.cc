#include "quality/perplexity.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/check.h"
#include "base/format.h"

namespace infer::quality {

namespace {

// Mean and spread of the negative log-likelihoods, in nats.
class NllSum {
 public:
  void add(double nll) {
    sum_ += nll;
    squares_ += nll * nll;
    ++count_;
  }
  int64_t count() const { return count_; }
  double ppl() const { return std::exp(mean()); }
  // The standard error of the mean, carried over to exp(mean).
  double ppl_stderr() const {
    if (count_ < 2) return 0;
    const double variance = squares_ / static_cast<double>(count_) - mean() * mean();
    return variance > 0 ? std::sqrt(variance / static_cast<double>(count_ - 1)) * ppl() : 0;
  }

 private:
  double mean() const { return sum_ / static_cast<double>(count_); }
  double sum_ = 0, squares_ = 0;
  int64_t count_ = 0;
};

// The caches of a measurement and what it has summed up.
struct Measurement {
  model::Model& model;
  const PerplexityOptions& options;
  kv::SequenceCache cache;
  std::optional<kv::SequenceCache> reference;  // At 16 bits, where it is compared.
  NllSum sum{};
  DivergenceSum divergence{model.kernels().log_sum_exp};
  std::vector<float> reference_logits{};
  double expected_losses = 0;  // Of the positions scored,
  double expected_divergences = 0;

  void score(int row, int scored, TokenId target) {
    const std::span<const float> logits = model.logits(row);
    const double log_sum = model.kernels().log_sum_exp(logits.data(), static_cast<int>(logits.size()));
    sum.add(log_sum - static_cast<double>(logits[static_cast<size_t>(target)]));
    if (!reference) return;
    INFER_CHECK(reference_logits.size() == static_cast<size_t>(scored) * logits.size());
    divergence.add(std::span(reference_logits).subspan(static_cast<size_t>(row) * logits.size(), logits.size()), logits,
                   target);
  }
};

// One step: the tokens into the cache, logits from `scored_begin` on. With a reference, first through that.
Status run_step(Measurement& m, std::span<const TokenId> tokens, int scored_begin, const CallContext& call) {
  const int count = static_cast<int>(tokens.size());
  m.reference_logits.clear();
  for (kv::SequenceCache* cache : {m.reference ? &*m.reference : nullptr, &m.cache}) {
    if (cache == nullptr) continue;
    const model::SequenceSlice slice{cache, tokens, scored_begin, count};
    INFER_TRY(m.model.run({{&slice, 1}}, call));
    for (int row = 0; cache != &m.cache && row < count - scored_begin; ++row) {
      const std::span<const float> logits = m.model.logits(row);
      m.reference_logits.insert(m.reference_logits.end(), logits.begin(), logits.end());
    }
  }
  return {};
}

// Computes one window in empty caches and scores what follows each position of its second half.
Status score_window(Measurement& m, std::span<const TokenId> window, const CallContext& call) {
  const int positions = static_cast<int>(window.size()) - 1;  // The last token is only predicted.
  const int first_scored = static_cast<int>(window.size()) / 2;
  const model::ModelOptions& limits = m.model.options();
  const int step = m.options.tokens_per_step > 0 ? std::min(m.options.tokens_per_step, limits.tokens_per_step)
                                                 : limits.tokens_per_step;
  m.cache.truncate(0);
  if (m.reference) m.reference->truncate(0);
  for (int begin = 0; begin < positions;) {
    const int unscored = std::max(0, first_scored - begin);
    const int count = std::min({positions - begin, step, unscored + limits.logits_per_step});
    const int scored_begin = std::min(unscored, count);
    const kv::SequenceLevels* const levels = m.cache.levels();
    if (levels != nullptr) {
      m.expected_losses += levels->expected_loss() * (count - scored_begin);
      m.expected_divergences += levels->expected_divergence().value_or(0) * (count - scored_begin);
    }
    INFER_TRY(run_step(m, window.subspan(static_cast<size_t>(begin), static_cast<size_t>(count)), scored_begin, call));
    for (int i = scored_begin; i < count; ++i) {
      m.score(i - scored_begin, count - scored_begin, window[static_cast<size_t>(begin + i + 1)]);
    }
    begin += count;
  }
  return {};
}

Status check_options(const model::Model& model, const PerplexityOptions& options, size_t tokens) {
  if (options.context < 4 || options.context > model.options().context) {
    return Error{ErrorCode::kInvalidArgument, format("a perplexity window of {} tokens is out of range: choose 4 to {}",
                                                     options.context, model.options().context)};
  }
  if (options.chunks == 0 || options.chunks < -1) {
    return Error{ErrorCode::kInvalidArgument,
                 format("{} windows cannot be measured: choose 1 or more, or -1 for all", options.chunks)};
  }
  if (tokens < 2 * static_cast<size_t>(options.context)) {
    return Error{ErrorCode::kInvalidArgument,
                 format("the text has {} tokens, perplexity needs at least two windows of {}: give more text or a "
                        "smaller window",
                        tokens, options.context)};
  }
  return {};
}

}  // namespace

Result<PerplexityResult> measure_perplexity(model::Model& model, const tokenizer::Tokenizer& tokenizer,
                                            std::string_view text, const PerplexityOptions& options,
                                            const CallContext& call, const PerplexityProgress& progress) {
  const Instant start = call.clock.now();
  const std::vector<TokenId> tokens = tokenizer.encode(text, {.add_special = true, .parse_special = false});
  INFER_TRY(check_options(model, options, tokens.size()));

  const auto context = static_cast<size_t>(options.context);
  const int windows = static_cast<int>(tokens.size() / context);
  const int chunks = options.chunks < 0 ? windows : std::min(options.chunks, windows);
  Measurement measurement{.model = model, .options = options, .cache = model.make_sequence(), .reference = {}};
  if (options.divergence) {
    measurement.reference = model.make_sequence();
    measurement.reference->set_policy({});
  }
  std::vector<TokenId> window(context);
  for (int chunk = 0; chunk < chunks; ++chunk) {
    std::copy_n(tokens.begin() + static_cast<std::ptrdiff_t>(static_cast<size_t>(chunk) * context), context,
                window.begin());
    if (tokenizer.adds_bos()) window[0] = tokenizer.bos();
    INFER_TRY(score_window(measurement, window, call));
    if (progress) progress(chunk + 1, chunks, measurement.sum.ppl());
  }

  PerplexityResult result;
  result.ppl = measurement.sum.ppl();
  result.ppl_stderr = measurement.sum.ppl_stderr();
  result.chunks = chunks;
  result.tokens_scored = measurement.sum.count();
  result.tokens_total = static_cast<int64_t>(tokens.size());
  result.kv_bytes = measurement.cache.kv_bytes();
  result.kv_bytes_f16 = measurement.cache.kv_bytes_f16();
  if (options.divergence) result.divergence = measurement.divergence.result();
  result.expected_loss = measurement.expected_losses / static_cast<double>(measurement.sum.count());
  if (model.level_model().loss_to_divergence) {
    result.expected_divergence = measurement.expected_divergences / static_cast<double>(measurement.sum.count());
  }
  result.elapsed = call.clock.now() - start;
  return result;
}

}  // namespace infer::quality
