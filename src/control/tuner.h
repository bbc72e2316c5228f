// Searches settings by what is measured of them: which one to try next, and which is the best so far.
//
// One dimension after another is tried with the others as they are best so far, until a whole round has changed
// nothing. What is faster than the best but costs too much quality is tried with the safest window and thresholds too:
// only there it may be allowed. Then the first few are measured again, in turns, so that a lucky one does not win. A
// setting is allowed when its quality is within the limit by a standard error and its speed meets the targets. The best
// is the fastest allowed one; of those as fast (kTie), the one with the fewest bytes in the KV cache. Deterministic for
// the same figures. Thread safety: a plain value.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "kv/level_policy.h"
#include "quality/trial.h"

namespace infer::control {

enum class TuneDimension : uint8_t { kThreads, kSequences, kMode, kWindow, kThresholds };
inline constexpr size_t kTuneDimensions = 5;

// What may be chosen; each has one value at least.
struct TuneSpace {
  std::vector<int> threads{0};
  std::vector<int> sequences{1};
  std::vector<kv::KvMode> modes;
  std::vector<int> windows;
  std::vector<kv::LevelThresholds> thresholds;

  size_t size(TuneDimension dimension) const;
  size_t settings() const;  // All combinations.
};

// Modes, windows and thresholds worth trying; of the rest one value.
TuneSpace default_tune_space();

struct TuneGoal {
  double max_delta_ppl = 0.5;
  std::optional<double> least_tokens_per_second{};  // Of one answer.
  std::optional<double> most_first_token_ms{};
};

// One of each dimension, by its index.
using TunePoint = std::array<size_t, kTuneDimensions>;

struct TuneSetting {
  int threads = 0;
  int sequences = 1;
  kv::KvMode mode{};
  int window = 0;
  kv::LevelThresholds thresholds{};
};
TuneSetting setting_at(const TuneSpace& space, const TunePoint& point);
// "dynamic, window 64, levels 0.7/0.5/0.3, 4 at once, 2 threads".
std::string setting_text(const TuneSetting& setting);

struct TuneTrial {
  TunePoint point{};
  quality::TrialFigures figures{};
};

class Tuner {
 public:
  static constexpr double kTie = 0.02;  // Of the best speed.
  static constexpr size_t kFinalists = 3;
  static constexpr int kFinalRounds = 2;

  // start: where to begin. trials_max: finalists included; at least 8.
  Tuner(TuneSpace space, const TuneGoal& goal, const TunePoint& start, int trials_max);

  // What to measure next; nullopt: the search is over. The same until observe() tells its figures.
  std::optional<TunePoint> next() const;
  void observe(const quality::TrialFigures& figures);

  const TuneSpace& space() const { return space_; }
  const TuneGoal& goal() const { return goal_; }
  const std::vector<TuneTrial>& trials() const { return trials_; }
  // Of those measured; nullopt before the first. Means of what was measured several times.
  std::optional<TuneTrial> best() const;
  bool allowed(const TuneTrial& trial) const;
  // Others worth knowing: allowed ones that are the fastest, or take the fewest bytes, or cost the least quality, as
  // far as they are not the best itself.
  std::vector<TuneTrial> alternatives() const;
  // Why the best is the best, in words.
  std::string reason() const;

 private:
  bool keeps_quality(const TuneTrial& trial) const;
  std::vector<TuneTrial> measured() const;
  std::optional<TuneTrial> mean_of(const TunePoint& point) const;
  bool better(const TuneTrial& a, const TuneTrial& b) const;
  void plan();
  void plan_finals();
  void plan_safer();

  TuneSpace space_;
  TuneGoal goal_;
  int trials_max_;
  TunePoint at_;                  // The best of the dimensions tried so far.
  std::vector<TunePoint> queue_;  // To be measured, the last first.
  std::vector<TuneTrial> trials_;
  size_t dimension_ = 0;
  size_t unchanged_ = 0;  // Dimensions in a row that changed nothing.
  bool finals_ = false;
};

}  // namespace infer::control
