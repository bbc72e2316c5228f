// The engine's idle work that measures: evaluations and trials of settings that were asked for, and exact checks of
// recent answers.
//
// An evaluation has all idle time until it is done. Exact checks have a share of all time, saved up for at most a
// minute; evaluations go first, then trials. Few answers are kept for them (kSamplesKept, kSampleBytesMax each), in
// memory only, and those computed with other levels than now are dropped, so that what was found always speaks of the
// levels in use.
//
// Thread safety: start() and cancel() on one thread, set_exact_share(), progress() and exact() from any; the rest on
// the engine's thread. Ownership: borrows the text and the clock.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/bounded_queue.h"
#include "base/published.h"
#include "base/result.h"
#include "base/time.h"
#include "engine/idle_work.h"
#include "quality/divergence.h"
#include "quality/evaluation.h"
#include "quality/exact_check.h"
#include "quality/trial_work.h"

namespace infer::quality {

// What evaluations run on.
struct EvaluationText {
  std::string name;
  std::vector<TokenId> tokens{};
  int window = 512;
  std::optional<TokenId> bos{};
  int windows() const { return static_cast<int>(tokens.size()) / window; }
};

enum class EvaluationState : uint8_t { kNone, kRunning, kDone, kCancelled, kFailed };
const char* evaluation_state_name(EvaluationState state);  // "none", "running", "done", "cancelled", "failed"

struct EvaluationProgress {
  EvaluationState state = EvaluationState::kNone;
  uint64_t number = 0;  // Of the evaluation, from 1.
  int windows = 0, windows_done = 0;
  int64_t positions = 0;  // Scored.
  kv::LevelPolicy levels{};
  bool has_figures = false;
  Divergence figures{};
  Duration worked{};  // In its steps, given up ones too.
  Instant began{}, ended{};
  ErrorCode error = ErrorCode::kInternal;  // With kFailed.
};

struct ExactFindings {
  uint64_t checks = 0;  // Answers that were checked since the levels changed,
  ExactSums sums{};     // and what came out of the last kChecksKept of them.
  uint64_t all_checks = 0;
  std::array<ExactSums, 2> arms{};  // The same of answers by one of two settings that are compared, since these began.
  Duration worked;                  // On all of them.
  // What the divergence of the checked answers was, as a multiple of what the KV cache had expected; 1 before any. It
  // is of the model and its texts, so that it outlives a change of levels.
  double divergence_ratio = 1;
};

class QualityWork final : public engine::IdleWork {
 public:
  static constexpr size_t kSamplesKept = 4;
  static constexpr size_t kSampleBytesMax = size_t{4} << 20;
  static constexpr size_t kRowsMax = 32;
  static constexpr size_t kChecksKept = 64;
  // A ratio of 1 counts as if so many rows had shown it, and this many are remembered at most.
  static constexpr double kRatioRows = 16, kRatioRowsMax = 1024;
  static constexpr Duration kSavedMax = Duration::from_seconds(60);  // Of time whose share is saved up.
  static constexpr int kAttemptsMax = 3;                             // At a step that fails.

  QualityWork(const EvaluationText& text, LogSumExp log_sum_exp, int vocabulary);

  // Begins an evaluation of so many windows at the levels in use then; wake the engine after it. Returns its number.
  // kBusy while another runs or waits; kInvalidArgument: more windows than the text has, or none.
  Result<uint64_t> start(int windows);
  // One runs or waits.
  bool is_busy() const { return asked_.load() != ended_.load(); }
  // Ends that one.
  void cancel() { cancel_.store(true, std::memory_order_relaxed); }
  // 0..1; 0: no checks.
  void set_exact_share(double share) { share_.store(share, std::memory_order_relaxed); }
  const EvaluationText& text() const { return text_; }
  TrialWork& trials() { return trials_; }
  EvaluationProgress progress() const { return published_progress_.load(); }
  ExactFindings exact() const { return published_exact_.load(); }

  Instant run(engine::StepRunner& runner, model::StepWatch& watch, const Clock& clock) override;
  bool is_wanted() const override { return is_busy() || trials_.is_busy(); }
  int64_t pages_wanted(engine::StepRunner& runner) const override;
  int64_t pages_held() const override;
  void release_pages() override;
  std::optional<size_t> sample_rows(int vocabulary) override;
  void take_sample(engine::AnswerSample sample) override;
  void levels_changed() override;

 private:
  void begin_evaluation(engine::StepRunner& runner, Instant now);
  void end_evaluation(EvaluationState state, Instant now);
  void step_evaluation(engine::StepRunner& runner, model::StepWatch& watch, const Clock& clock);
  void publish_figures();
  // When the share allows the next portion.
  Instant save_up(Instant now);
  void step_check(engine::StepRunner& runner, model::StepWatch& watch, const Clock& clock);
  void end_check(bool counts);
  void learn_ratio(const ExactSums& sums);

  const EvaluationText& text_;
  const LogSumExp log_sum_exp_;
  const int vocabulary_;

  std::atomic<uint64_t> asked_{0};  // Number of the last evaluation that was asked for,
  std::atomic<int> asked_windows_{0};
  std::atomic<uint64_t> ended_{0};  // and of the last that ended.
  std::atomic<bool> cancel_{false};
  std::atomic<double> share_{0.02};
  Published<EvaluationProgress> published_progress_;
  Published<ExactFindings> published_exact_;

  TrialWork trials_;

  // The engine's thread's own.
  std::optional<Evaluation> evaluation_;
  EvaluationProgress progress_;
  int attempts_ = 0;
  std::deque<engine::AnswerSample> samples_;
  std::optional<ExactCheck> check_;
  std::deque<ExactSums> checked_;
  ExactFindings findings_;
  double ratio_rows_ = 0, ratio_expected_ = 0, ratio_kld_ = 0;  // Behind the ratio.
  std::optional<Instant> saved_at_;
  double saved_ns_ = 0;  // May be below 0: what was used before it was saved.
};

}  // namespace infer::quality
