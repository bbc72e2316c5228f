#include "quality/exact_check.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/check.h"

namespace infer::quality {

namespace {

double variance(double sum, double squares, double count) {
  const double mean = sum / count;
  return std::max(0.0, squares / count - mean * mean);
}

}  // namespace

void ExactSums::add(const ExactSums& other) {
  tokens += other.tokens;
  reference_nll += other.reference_nll;
  difference += other.difference;
  difference_squares += other.difference_squares;
  rows += other.rows;
  kld += other.kld;
  kld_squares += other.kld_squares;
  same_top += other.same_top;
  rows_expected += other.rows_expected;
  expected += other.expected;
  expected_kld += other.expected_kld;
}

ExactFigures exact_figures(const ExactSums& sums) {
  INFER_CHECK(sums.tokens > 0);
  ExactFigures figures{.tokens = sums.tokens, .rows = sums.rows};
  const auto tokens = static_cast<double>(sums.tokens);
  const double mean = sums.difference / tokens;
  figures.ppl_reference = std::exp(sums.reference_nll / tokens);
  figures.own_delta_ppl = figures.ppl_reference * std::expm1(mean);
  figures.own_delta_ppl_stderr =
      figures.ppl_reference * std::exp(mean) *
      std::sqrt(variance(sums.difference, sums.difference_squares, tokens) / std::max(1.0, tokens - 1));
  if (sums.rows == 0) return figures;
  const auto rows = static_cast<double>(sums.rows);
  figures.kld_mean = sums.kld / rows;
  figures.kld_stderr = std::sqrt(variance(sums.kld, sums.kld_squares, rows) / std::max(1.0, rows - 1));
  figures.delta_ppl = figures.ppl_reference * std::expm1(figures.kld_mean);
  figures.delta_ppl_stderr = figures.ppl_reference * std::exp(figures.kld_mean) * figures.kld_stderr;
  figures.same_top = static_cast<double>(sums.same_top) / rows;
  figures.same_top_stderr = std::sqrt(figures.same_top * (1 - figures.same_top) / rows);
  return figures;
}

ExactCheck::ExactCheck(engine::AnswerSample sample, LogSumExp log_sum_exp, int vocabulary)
    : sample_(std::move(sample)), log_sum_exp_(log_sum_exp), vocabulary_(static_cast<size_t>(vocabulary)) {
  INFER_CHECK(!sample_.scores.empty() && sample_.scores.front().position >= 1);
}

Status ExactCheck::step(engine::StepRunner& runner, model::StepWatch& watch, Instant now) {
  INFER_CHECK(!done());
  if (!cache_) {
    cache_.emplace(runner.make_sequence());
    cache_->set_policy({});
  }
  // The logits behind token p - 1 predict token p.
  const int begin = cache_->length();
  const int first_wanted = sample_.scores[next_score_].position - 1;
  const int last_wanted = sample_.scores.back().position - 1;
  const int unscored = std::max(0, first_wanted - begin);
  const int count = std::min(
      {last_wanted + 1 - begin, portion_.tokens(), runner.tokens_per_step(), unscored + runner.logits_per_step()});
  const int scored_begin = std::min(unscored, count);
  const std::span<const TokenId> tokens =
      std::span(sample_.tokens).subspan(static_cast<size_t>(begin), static_cast<size_t>(count));
  const model::SequenceSlice slice{&*cache_, tokens, scored_begin, count};
  Status ran = runner.run({{&slice, 1}}, watch, now);
  portion_.ended(ran);
  if (!ran) return ran;
  for (int i = scored_begin; i < count && !done(); ++i) {
    const int position = begin + i + 1;
    if (sample_.scores[next_score_].position == position) score(position, runner.logits(i - scored_begin));
  }
  if (done()) release_pages();
  return {};
}

void ExactCheck::score(int position, std::span<const float> logits) {
  logits = logits.first(vocabulary_);
  const engine::AnswerSample::Score& live = sample_.scores[next_score_++];
  const auto token = static_cast<size_t>(sample_.tokens[static_cast<size_t>(position)]);
  const double reference =
      log_sum_exp_(logits.data(), static_cast<int>(logits.size())) - static_cast<double>(logits[token]);
  const double difference = static_cast<double>(live.nll) - reference;
  ++sums_.tokens;
  sums_.reference_nll += reference;
  sums_.difference += difference;
  sums_.difference_squares += difference * difference;
  if (next_row_ == sample_.rows.size() || sample_.rows[next_row_].position != position) return;
  const engine::AnswerSample::Row& row = sample_.rows[next_row_++];
  const std::span<const float> used(row.logits);
  const double kld = kl_divergence(log_sum_exp_, logits, used);
  ++sums_.rows;
  sums_.kld += kld;
  sums_.kld_squares += kld * kld;
  if (row.expected > 0) {
    ++sums_.rows_expected;
    sums_.expected += row.expected;
    sums_.expected_kld += kld;
  }
  sums_.same_top += std::max_element(logits.begin(), logits.end()) - logits.begin() ==
                    std::max_element(used.begin(), used.end()) - used.begin();
}

}  // namespace infer::quality
