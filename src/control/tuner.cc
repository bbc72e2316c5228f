#include "control/tuner.h"

#include <algorithm>

#include "base/check.h"
#include "base/format.h"

namespace infer::control {

namespace {

size_t index_of(TuneDimension dimension) { return static_cast<size_t>(dimension); }

// Whether thresholds, or the window, mean anything to the mode.
bool matters(TuneDimension dimension, kv::KvMode mode) {
  if (dimension == TuneDimension::kThresholds) return kv::is_tiered(mode);
  return dimension != TuneDimension::kWindow || mode != kv::KvMode::kF16;
}

}  // namespace

size_t TuneSpace::size(TuneDimension dimension) const {
  switch (dimension) {
    case TuneDimension::kThreads: return threads.size();
    case TuneDimension::kSequences: return sequences.size();
    case TuneDimension::kMode: return modes.size();
    case TuneDimension::kWindow: return windows.size();
    case TuneDimension::kThresholds: return thresholds.size();
  }
  return 0;
}

size_t TuneSpace::settings() const {
  size_t count = 1;
  for (size_t i = 0; i < kTuneDimensions; ++i) count *= size(static_cast<TuneDimension>(i));
  return count;
}

TuneSpace default_tune_space() {
  return {.modes = {kv::KvMode::kDynamic, kv::KvMode::kF16, kv::KvMode::kQuality, kv::KvMode::kLatency,
                    kv::KvMode::kThroughput},
          .windows = {64, 32, 128, 256},
          .thresholds = {{0.7, 0.5, 0.3}, {0.8, 0.6, 0.4}, {0.6, 0.4, 0.2}}};
}

TuneSetting setting_at(const TuneSpace& space, const TunePoint& point) {
  return {.threads = space.threads[point[index_of(TuneDimension::kThreads)]],
          .sequences = space.sequences[point[index_of(TuneDimension::kSequences)]],
          .mode = space.modes[point[index_of(TuneDimension::kMode)]],
          .window = space.windows[point[index_of(TuneDimension::kWindow)]],
          .thresholds = space.thresholds[point[index_of(TuneDimension::kThresholds)]]};
}

std::string setting_text(const TuneSetting& setting) {
  std::string text(setting.mode == kv::KvMode::kF16 ? "disabled" : kv::mode_name(setting.mode));
  if (setting.mode != kv::KvMode::kF16) text += format(", window {}", setting.window);
  if (kv::is_tiered(setting.mode)) {
    text += format(", levels {}/{}/{}", setting.thresholds.l1_int8, setting.thresholds.l2_int4,
                   setting.thresholds.l3_evict);
  }
  text += format(", {} at once", setting.sequences);
  if (setting.threads > 0) text += format(", {} {}", setting.threads, setting.threads == 1 ? "thread" : "threads");
  return text;
}

Tuner::Tuner(TuneSpace space, const TuneGoal& goal, const TunePoint& start, int trials_max)
    : space_(std::move(space)), goal_(goal), trials_max_(trials_max), at_(start), queue_{start} {
  INFER_CHECK(space_.settings() > 0 && trials_max >= 8);
  for (size_t i = 0; i < kTuneDimensions; ++i) INFER_CHECK(start[i] < space_.size(static_cast<TuneDimension>(i)));
}

std::optional<TunePoint> Tuner::next() const { return queue_.empty() ? std::nullopt : std::optional(queue_.back()); }

void Tuner::observe(const quality::TrialFigures& figures) {
  INFER_CHECK(!queue_.empty());
  trials_.push_back({queue_.back(), figures});
  queue_.pop_back();
  if (queue_.empty() && !finals_) plan();
}

// What a dimension has shown decides where the next one is tried.
void Tuner::plan() {
  const TunePoint before = at_;
  at_ = best()->point;
  unchanged_ = trials_.size() > 1 && at_ == before ? unchanged_ + 1 : 0;
  const int finals = static_cast<int>(kFinalists) * kFinalRounds;
  plan_safer();
  while (queue_.empty()) {
    const bool spent = static_cast<int>(trials_.size()) + finals >= trials_max_;
    if (unchanged_ >= kTuneDimensions || spent) return plan_finals();
    const auto dimension = static_cast<TuneDimension>(dimension_);
    dimension_ = (dimension_ + 1) % kTuneDimensions;
    if (matters(dimension, space_.modes[at_[index_of(TuneDimension::kMode)]])) {
      for (size_t value = space_.size(dimension); value-- > 0;) {
        TunePoint point = at_;
        point[index_of(dimension)] = value;
        if (!mean_of(point)) queue_.push_back(point);
      }
    }
    if (queue_.empty()) ++unchanged_;
  }
  const auto room = static_cast<size_t>(std::max(0, trials_max_ - finals - static_cast<int>(trials_.size())));
  if (queue_.size() > room) queue_.erase(queue_.begin(), queue_.end() - static_cast<std::ptrdiff_t>(room));
}

void Tuner::plan_safer() {
  const TuneTrial chosen = *best();
  const auto widest = std::max_element(space_.windows.begin(), space_.windows.end());
  const auto strictest = std::max_element(space_.thresholds.begin(), space_.thresholds.end(),
                                          [](const auto& a, const auto& b) { return a.l1_int8 < b.l1_int8; });
  for (const TuneTrial& each : measured()) {
    const bool faster = each.figures.tokens_per_second > chosen.figures.tokens_per_second;
    if (keeps_quality(each) || (allowed(chosen) && !faster)) continue;
    TunePoint safer = each.point;
    safer[index_of(TuneDimension::kWindow)] = static_cast<size_t>(widest - space_.windows.begin());
    safer[index_of(TuneDimension::kThresholds)] = static_cast<size_t>(strictest - space_.thresholds.begin());
    if (!mean_of(safer) && std::find(queue_.begin(), queue_.end(), safer) == queue_.end()) queue_.push_back(safer);
  }
}

void Tuner::plan_finals() {
  finals_ = true;
  std::vector<TuneTrial> all = measured();
  std::sort(all.begin(), all.end(), [this](const auto& a, const auto& b) {
    if (allowed(a) != allowed(b)) return allowed(a);
    if (a.figures.tokens_per_second != b.figures.tokens_per_second) {
      return a.figures.tokens_per_second > b.figures.tokens_per_second;
    }
    return a.point < b.point;
  });
  const auto chosen = best();
  std::vector<TunePoint> finalists{chosen->point};
  for (const TuneTrial& each : all) {
    if (finalists.size() < kFinalists && each.point != chosen->point && allowed(each)) finalists.push_back(each.point);
  }
  if (finalists.size() < 2) return;
  for (int round = 0; round < kFinalRounds; ++round) {
    // There and back, so that a machine that gets slower does so for all.
    if (round % 2 == 0) {
      queue_.insert(queue_.end(), finalists.begin(), finalists.end());
    } else {
      queue_.insert(queue_.end(), finalists.rbegin(), finalists.rend());
    }
  }
}

bool Tuner::keeps_quality(const TuneTrial& trial) const {
  return trial.figures.delta_ppl + trial.figures.delta_stderr <= goal_.max_delta_ppl;
}

bool Tuner::allowed(const TuneTrial& trial) const {
  const quality::TrialFigures& figures = trial.figures;
  if (!keeps_quality(trial)) return false;
  const int sequences = setting_at(space_, trial.point).sequences;
  if (goal_.least_tokens_per_second && figures.tokens_per_second < *goal_.least_tokens_per_second * sequences) {
    return false;
  }
  return !goal_.most_first_token_ms || figures.first_token_ms <= *goal_.most_first_token_ms;
}

std::optional<TuneTrial> Tuner::mean_of(const TunePoint& point) const {
  TuneTrial mean{.point = point};
  double count = 0;
  for (const TuneTrial& each : trials_) {
    if (each.point != point) continue;
    ++count;
    // Quality and bytes are the same each time.
    const double speed = mean.figures.tokens_per_second, first = mean.figures.first_token_ms;
    mean.figures = each.figures;
    mean.figures.tokens_per_second = speed + (each.figures.tokens_per_second - speed) / count;
    mean.figures.first_token_ms = first + (each.figures.first_token_ms - first) / count;
  }
  return count > 0 ? std::optional(mean) : std::nullopt;
}

std::vector<TuneTrial> Tuner::measured() const {
  std::vector<TuneTrial> all;
  for (const TuneTrial& each : trials_) {
    const auto same = [&](const TuneTrial& other) { return other.point == each.point; };
    if (std::none_of(all.begin(), all.end(), same)) all.push_back(*mean_of(each.point));
  }
  return all;
}

// Allowed first; among those that are not, the one that costs the least quality.
bool Tuner::better(const TuneTrial& a, const TuneTrial& b) const {
  if (allowed(a) != allowed(b)) return allowed(a);
  if (allowed(a)) return a.figures.tokens_per_second > b.figures.tokens_per_second;
  return a.figures.delta_ppl < b.figures.delta_ppl;
}

std::optional<TuneTrial> Tuner::best() const {
  const std::vector<TuneTrial> all = measured();
  if (all.empty()) return std::nullopt;
  const TuneTrial fastest =
      *std::min_element(all.begin(), all.end(), [this](const auto& a, const auto& b) { return better(a, b); });
  if (!allowed(fastest)) return fastest;
  TuneTrial chosen = fastest;
  for (const TuneTrial& each : all) {
    const bool as_fast = each.figures.tokens_per_second >= (1 - kTie) * fastest.figures.tokens_per_second;
    if (allowed(each) && as_fast && each.figures.kv_share < chosen.figures.kv_share) chosen = each;
  }
  return chosen;
}

std::vector<TuneTrial> Tuner::alternatives() const {
  std::vector<TuneTrial> found;
  std::vector<TuneTrial> all = measured();
  std::erase_if(all, [this](const TuneTrial& each) { return !allowed(each); });
  if (all.empty()) return found;
  const auto add = [&](auto less) {
    const TuneTrial& each = *std::min_element(all.begin(), all.end(), less);
    const auto same = [&](const TuneTrial& other) { return other.point == each.point; };
    if (each.point != best()->point && std::none_of(found.begin(), found.end(), same)) found.push_back(each);
  };
  add([](const auto& a, const auto& b) { return a.figures.tokens_per_second > b.figures.tokens_per_second; });
  add([](const auto& a, const auto& b) { return a.figures.kv_share < b.figures.kv_share; });
  add([](const auto& a, const auto& b) { return a.figures.delta_ppl < b.figures.delta_ppl; });
  return found;
}

std::string Tuner::reason() const {
  const auto chosen = best();
  if (!chosen) return "nothing was measured";
  const std::vector<TuneTrial> all = measured();
  if (!allowed(*chosen)) {
    return format(
        "none of {} settings meets the targets; this one costs the least quality: {:+.4f} perplexity, {:.4f} "
        "are allowed",
        all.size(), chosen->figures.delta_ppl, goal_.max_delta_ppl);
  }
  const auto refused = std::count_if(all.begin(), all.end(), [this](const auto& each) { return !allowed(each); });
  const TuneTrial& fastest =
      *std::min_element(all.begin(), all.end(), [this](const auto& a, const auto& b) { return better(a, b); });
  std::string text = format("the fastest of {} settings measured, {} of them outside the targets", all.size(), refused);
  if (fastest.point != chosen->point) {
    text = format(
        "within {:.1f} % of the fastest of {} settings measured ({} outside the targets), with {:.0f} % of its "
        "KV cache",
        100 * (1 - chosen->figures.tokens_per_second / fastest.figures.tokens_per_second), all.size(), refused,
        100 * chosen->figures.kv_share / fastest.figures.kv_share);
  }
  return text + format("; perplexity {:+.4f} (+/- {:.4f}), {:.2f} are allowed", chosen->figures.delta_ppl,
                       chosen->figures.delta_stderr, goal_.max_delta_ppl);
}

}  // namespace infer::control
