#include "quality/quality_work.h"

#include <algorithm>
#include <utility>

#include "base/format.h"

namespace infer::quality {

namespace {

constexpr Instant kAtOnce = Instant::from_ns(0);
constexpr int kScoresMin = 8;  // Of a sample that is worth a check.

}  // namespace

const char* evaluation_state_name(EvaluationState state) {
  switch (state) {
    case EvaluationState::kNone: return "none";
    case EvaluationState::kRunning: return "running";
    case EvaluationState::kDone: return "done";
    case EvaluationState::kCancelled: return "cancelled";
    case EvaluationState::kFailed: return "failed";
  }
  return "none";
}

QualityWork::QualityWork(const EvaluationText& text, LogSumExp log_sum_exp, int vocabulary)
    : text_(text),
      log_sum_exp_(log_sum_exp),
      vocabulary_(vocabulary),
      trials_(text.tokens, text.bos, log_sum_exp, vocabulary) {}

// ---- Evaluations.

Result<uint64_t> QualityWork::start(int windows) {
  if (windows < 1 || windows > text_.windows()) {
    return Error{ErrorCode::kInvalidArgument, format("{} windows cannot be evaluated: {} has {} of {} tokens", windows,
                                                     text_.name, text_.windows(), text_.window)};
  }
  const uint64_t last = asked_.load();
  if (is_busy()) {
    return Error{ErrorCode::kBusy, format("evaluation {} is not done yet: wait for it, or cancel it", last)};
  }
  cancel_.store(false, std::memory_order_relaxed);
  asked_windows_.store(windows);
  asked_.store(last + 1);
  return last + 1;
}

void QualityWork::begin_evaluation(engine::StepRunner& runner, Instant now) {
  progress_ = {.state = EvaluationState::kRunning,
               .number = ended_.load() + 1,
               .windows = asked_windows_.load(),
               .levels = runner.levels(),
               .began = now};
  attempts_ = 0;
  evaluation_.emplace(EvaluationTask{.tokens = text_.tokens,
                                     .window = text_.window,
                                     .windows = progress_.windows,
                                     .bos = text_.bos,
                                     .levels = progress_.levels},
                      log_sum_exp_);
  published_progress_.store(progress_);
}

void QualityWork::end_evaluation(EvaluationState state, Instant now) {
  progress_.state = state;
  progress_.ended = now;
  evaluation_.reset();
  published_progress_.store(progress_);
  ended_.store(progress_.number);
}

void QualityWork::publish_figures() {
  if (progress_.windows_done == evaluation_->windows_done()) return;
  progress_.windows_done = evaluation_->windows_done();
  progress_.positions = evaluation_->positions();
  progress_.has_figures = true;
  progress_.figures = evaluation_->figures();
  published_progress_.store(progress_);
}

void QualityWork::step_evaluation(engine::StepRunner& runner, model::StepWatch& watch, const Clock& clock) {
  const Instant start = clock.now();
  if (!evaluation_) begin_evaluation(runner, start);
  if (cancel_.load(std::memory_order_relaxed)) {
    end_evaluation(EvaluationState::kCancelled, start);
    return;
  }
  const Status done = evaluation_->step(runner, watch, start);
  const Instant end = clock.now();
  progress_.worked = progress_.worked + (end - start);
  if (done) {
    attempts_ = 0;
    publish_figures();
    if (evaluation_->done()) end_evaluation(EvaluationState::kDone, end);
  } else if (!is_stop(done.error()) && ++attempts_ >= kAttemptsMax) {
    progress_.error = done.error().code;
    end_evaluation(EvaluationState::kFailed, end);
  }
}

// ---- Exact checks.

std::optional<size_t> QualityWork::sample_rows(int vocabulary) {
  if (share_.load(std::memory_order_relaxed) <= 0) return std::nullopt;
  return std::min(kRowsMax, kSampleBytesMax / (sizeof(float) * static_cast<size_t>(vocabulary)));
}

// The latest are the most telling.
void QualityWork::take_sample(engine::AnswerSample sample) {
  if (sample.scores.size() < kScoresMin || sample.scores.front().position < 1) return;
  if (samples_.size() == kSamplesKept) samples_.pop_front();
  samples_.push_back(std::move(sample));
}

void QualityWork::levels_changed() {
  samples_.clear();
  check_.reset();
  checked_.clear();
  findings_.checks = 0;
  findings_.sums = {};
  findings_.arms = {};
  published_exact_.store(findings_);
}

Instant QualityWork::save_up(Instant now) {
  const double share = share_.load(std::memory_order_relaxed);
  if (share <= 0) return Instant::never();
  const double elapsed = saved_at_ ? static_cast<double>((now - *saved_at_).ns()) : 0;
  saved_at_ = now;
  saved_ns_ = std::min(saved_ns_ + elapsed * share, static_cast<double>(kSavedMax.ns()) * share);
  if (saved_ns_ >= 0) return kAtOnce;
  return now + Duration::from_ns(static_cast<int64_t>(-saved_ns_ / share) + 1'000'000);
}

void QualityWork::step_check(engine::StepRunner& runner, model::StepWatch& watch, const Clock& clock) {
  const Instant start = clock.now();
  if (!check_) {
    check_.emplace(std::move(samples_.back()), log_sum_exp_, vocabulary_);
    samples_.pop_back();
    attempts_ = 0;
  }
  const Status done = check_->step(runner, watch, start);
  const Duration taken = clock.now() - start;
  saved_ns_ -= static_cast<double>(taken.ns());
  findings_.worked = findings_.worked + taken;
  if (!done && !is_stop(done.error()) && ++attempts_ >= kAttemptsMax) {
    end_check(false);
  } else if (check_->done()) {
    end_check(true);
  }
}

void QualityWork::end_check(bool counts) {
  if (counts) {
    if (checked_.size() == kChecksKept) checked_.pop_front();
    checked_.push_back(check_->sums());
    ++findings_.checks;
    ++findings_.all_checks;
    findings_.sums = {};
    for (const ExactSums& each : checked_) findings_.sums.add(each);
    if (check_->arm() >= 0) findings_.arms[static_cast<size_t>(check_->arm())].add(check_->sums());
    learn_ratio(check_->sums());
  }
  check_.reset();
  published_exact_.store(findings_);
}

void QualityWork::learn_ratio(const ExactSums& sums) {
  constexpr double kLeast = 0.1, kMost = 10;
  const auto rows = static_cast<double>(sums.rows_expected);
  const double keep = std::min(1.0, std::max(0.0, kRatioRowsMax - rows) / std::max(1.0, ratio_rows_));
  ratio_rows_ = ratio_rows_ * keep + rows;
  ratio_expected_ = ratio_expected_ * keep + sums.expected;
  ratio_kld_ = ratio_kld_ * keep + sums.expected_kld;
  if (!(ratio_expected_ > 0)) return;
  const double before = kRatioRows * ratio_expected_ / ratio_rows_;
  findings_.divergence_ratio = std::clamp((ratio_kld_ + before) / (ratio_expected_ + before), kLeast, kMost);
}

// ---- The engine's thread.

Instant QualityWork::run(engine::StepRunner& runner, model::StepWatch& watch, const Clock& clock) {
  if (is_busy()) {
    if (check_) check_->release_pages();
    step_evaluation(runner, watch, clock);
    return kAtOnce;
  }
  if (trials_.is_busy()) {
    if (check_) check_->release_pages();
    trials_.step(runner, watch, clock);
    return kAtOnce;
  }
  if (!check_ && samples_.empty()) return Instant::never();
  const Instant allowed = save_up(clock.now());
  if (allowed > kAtOnce) return allowed;
  step_check(runner, watch, clock);
  return kAtOnce;
}

int64_t QualityWork::pages_wanted(engine::StepRunner& runner) const {
  if (is_busy()) return 2 * runner.pages_for(text_.window) - pages_held();
  if (trials_.is_busy()) return trials_.pages_wanted(runner);
  if (!check_ && samples_.empty()) return 0;
  if (check_) return check_->pages_wanted(runner) - pages_held();
  return runner.pages_for(static_cast<int>(samples_.back().tokens.size()));
}

int64_t QualityWork::pages_held() const {
  return (evaluation_ ? evaluation_->pages_held() : 0) + (check_ ? check_->pages_held() : 0) + trials_.pages_held();
}

void QualityWork::release_pages() {
  if (evaluation_) evaluation_->release_pages();
  if (check_) check_->release_pages();
  trials_.release_pages();
}

}  // namespace infer::quality
