#include "quality/trial.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace infer::quality {

namespace {

// A step that took longer than so many usual ones was held up by something else, and counts as long as this.
constexpr double kHeldUp = 3;

double mean_of_undisturbed(std::vector<double> seconds) {
  const size_t middle = seconds.size() / 2;
  std::nth_element(seconds.begin(), seconds.begin() + static_cast<std::ptrdiff_t>(middle), seconds.end());
  const double most = kHeldUp * seconds[middle];
  double sum = 0;
  for (const double each : seconds) sum += std::min(each, most);
  return sum / static_cast<double>(seconds.size());
}

}  // namespace

Trial::Trial(const TrialTask& task, LogSumExp log_sum_exp, int vocabulary, TrialReference& reference)
    : task_(task), log_sum_exp_(log_sum_exp), vocabulary_(static_cast<size_t>(vocabulary)), reference_(reference) {
  INFER_CHECK(task_.prompt >= 1 && task_.decoded >= 1 && task_.sequences >= 1);
  INFER_CHECK(task_.tokens.size() > static_cast<size_t>(length()));
}

TokenId Trial::token(int sequence, int position) const {
  if (position == 0 && task_.bos) return *task_.bos;
  const auto at = static_cast<size_t>(sequence) * static_cast<size_t>(length()) + static_cast<size_t>(position);
  return task_.tokens[at % task_.tokens.size()];
}

Status Trial::step(engine::StepRunner& runner, model::StepWatch& watch, const Clock& clock) {
  INFER_CHECK(!done());
  if (reference_.rows.size() < vocabulary_ * static_cast<size_t>(task_.decoded)) {
    return step_reference(runner, watch, clock.now());
  }
  if (caches_.empty()) {
    decoded_ = 0;
    prompt_seconds_ = kld_ = kld_squares_ = nll_ = 0;
    decode_seconds_.clear();
    for (int i = 0; i < task_.sequences; ++i) {
      caches_.push_back(runner.make_sequence());
      caches_.back().set_policy(task_.levels);
    }
  }
  const auto unread = std::find_if(caches_.begin(), caches_.end(),
                                   [this](const kv::SequenceCache& each) { return each.length() < task_.prompt; });
  return unread == caches_.end() ? step_decode(runner, watch, clock) : step_prompt(runner, watch, clock);
}

Status Trial::step_reference(engine::StepRunner& runner, model::StepWatch& watch, Instant now) {
  if (!reference_cache_) {
    reference_cache_.emplace(runner.make_sequence());
    reference_cache_->set_policy({});
    reference_.rows.clear();
  }
  const int begin = reference_cache_->length(), unscored = std::max(0, task_.prompt - begin);
  const int count =
      std::min({length() - begin, kv::kPageTokens, runner.tokens_per_step(), unscored + runner.logits_per_step()});
  const int scored = std::min(unscored, count);
  step_tokens_.clear();
  for (int i = 0; i < count; ++i) step_tokens_.push_back(token(0, begin + i));
  const model::SequenceSlice slice{&*reference_cache_, step_tokens_, scored, count};
  INFER_TRY(runner.run({{&slice, 1}}, watch, now));
  for (int row = 0; row < count - scored; ++row) {
    const std::span<const float> logits = runner.logits(row).first(vocabulary_);
    reference_.rows.insert(reference_.rows.end(), logits.begin(), logits.end());
  }
  if (begin + count == length()) reference_cache_.reset();
  return {};
}

Status Trial::step_prompt(engine::StepRunner& runner, model::StepWatch& watch, const Clock& clock) {
  const auto unread = std::find_if(caches_.begin(), caches_.end(),
                                   [this](const kv::SequenceCache& each) { return each.length() < task_.prompt; });
  const int sequence = static_cast<int>(unread - caches_.begin());
  const int begin = unread->length();
  const int count = std::min(task_.prompt - begin, runner.tokens_per_step());
  step_tokens_.clear();
  for (int i = 0; i < count; ++i) step_tokens_.push_back(token(sequence, begin + i));
  const model::SequenceSlice slice{&*unread, step_tokens_, count - 1, count};
  const Instant start = clock.now();
  INFER_TRY(runner.run({{&slice, 1}}, watch, start));
  prompt_seconds_ += (clock.now() - start).seconds();
  return {};
}

// A token of each, whose logits say how likely the next one was.
Status Trial::step_decode(engine::StepRunner& runner, model::StepWatch& watch, const Clock& clock) {
  const int position = task_.prompt + decoded_;
  step_tokens_.clear();
  for (int i = 0; i < task_.sequences; ++i) step_tokens_.push_back(token(i, position));
  std::vector<model::SequenceSlice> slices;
  for (size_t i = 0; i < caches_.size(); ++i) {
    slices.push_back({&caches_[i], std::span<const TokenId>(step_tokens_).subspan(i, 1), 0, 1});
  }
  const Instant start = clock.now();
  INFER_TRY(runner.run({slices}, watch, start));
  decode_seconds_.push_back((clock.now() - start).seconds());
  const std::span<const float> used = runner.logits(0).first(vocabulary_);
  const std::span<const float> reference =
      std::span<const float>(reference_.rows).subspan(static_cast<size_t>(decoded_) * vocabulary_, vocabulary_);
  const double kld = kl_divergence(log_sum_exp_, reference, used);
  kld_ += kld;
  kld_squares_ += kld * kld;
  const auto next = static_cast<size_t>(token(0, position + 1));
  nll_ += log_sum_exp_(reference.data(), static_cast<int>(vocabulary_)) - static_cast<double>(reference[next]);
  if (++decoded_ < task_.decoded) return {};
  uint64_t bytes = 0, bytes_f16 = 0;
  for (const kv::SequenceCache& cache : caches_) {
    bytes += cache.kv_bytes();
    bytes_f16 += cache.kv_bytes_f16();
  }
  kv_share_ = bytes_f16 > 0 ? static_cast<double>(bytes) / static_cast<double>(bytes_f16) : 1;
  caches_.clear();
  return {};
}

TrialFigures Trial::figures() const {
  INFER_CHECK(done());
  const auto rows = static_cast<double>(task_.decoded);
  const double kld = kld_ / rows;
  const double variance = std::max(0.0, kld_squares_ / rows - kld * kld);
  const double ppl = std::exp(nll_ / rows);
  return {.tokens_per_second = task_.sequences / mean_of_undisturbed(decode_seconds_),
          .first_token_ms = 1e3 * prompt_seconds_ / task_.sequences,
          .ppl = ppl,
          .delta_ppl = ppl * std::expm1(kld),
          .delta_stderr = ppl * std::exp(kld) * std::sqrt(variance / std::max(1.0, rows - 1)),
          .kv_share = kv_share_};
}

int64_t Trial::pages_held() const {
  int64_t pages = reference_cache_ ? reference_cache_->pages_held() : 0;
  for (const kv::SequenceCache& cache : caches_) pages += cache.pages_held();
  return pages;
}

int64_t Trial::pages_wanted(engine::StepRunner& runner) const {
  return task_.sequences * runner.pages_for(length()) - pages_held();
}

void Trial::release_pages() {
  caches_.clear();
  reference_cache_.reset();
  if (!done()) decoded_ = 0;
}

}  // namespace infer::quality
