// Trials of settings in the engine's idle time: one at a time, asked for by the control agent.
//
// Thread safety: start(), is_busy() and cancel() on one thread, progress() on any; the rest on the engine's.
// Ownership: borrows the text's tokens.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <span>

#include "base/published.h"
#include "base/result.h"
#include "base/time.h"
#include "engine/step_runner.h"
#include "quality/trial.h"

namespace infer::quality {

enum class TrialState : uint8_t { kNone, kDone, kCancelled, kFailed };

struct TrialProgress {
  TrialState state = TrialState::kNone;
  uint64_t number = 0;  // Of the trial that ended last.
  TrialFigures figures{};
};

class TrialWork {
 public:
  static constexpr int kPrompt = 256, kDecoded = 32;  // At most; less where the context is short.
  static constexpr int kAttemptsMax = 3;

  TrialWork(std::span<const TokenId> tokens, std::optional<TokenId> bos, LogSumExp log_sum_exp, int vocabulary)
      : tokens_(tokens), bos_(bos), log_sum_exp_(log_sum_exp), vocabulary_(vocabulary) {}

  // Asks for one; returns its number. kBusy: another is under way. kUnsupported: there is no text.
  Result<uint64_t> start(const kv::LevelPolicy& levels, int sequences);
  bool is_busy() const { return asked_.load() != ended_.load(); }
  void cancel() { cancel_.store(true, std::memory_order_relaxed); }
  TrialProgress progress() const { return progress_.load(); }
  // No more trials for now: what was kept for the next goes.
  void finish() { finished_.store(true, std::memory_order_relaxed); }

  // The engine's thread's.
  void step(engine::StepRunner& runner, model::StepWatch& watch, const Clock& clock);
  int64_t pages_wanted(engine::StepRunner& runner) const;
  int64_t pages_held() const { return trial_ ? trial_->pages_held() : 0; }
  void release_pages() {
    if (trial_) trial_->release_pages();
  }

 private:
  struct Wish {
    kv::LevelPolicy levels{};
    int sequences = 1;
  };
  bool begin(engine::StepRunner& runner);
  void end(TrialState state);

  const std::span<const TokenId> tokens_;
  const std::optional<TokenId> bos_;
  const LogSumExp log_sum_exp_;
  const int vocabulary_;
  std::atomic<uint64_t> asked_{0}, ended_{0};
  std::atomic<bool> cancel_{false}, finished_{false};
  Published<Wish> wish_;
  Published<TrialProgress> progress_;
  TrialReference reference_;
  std::optional<Trial> trial_;
  int attempts_ = 0;
};

}  // namespace infer::quality
