// control_sim [--schedules N] [SEED]: with a seed, one schedule of faults, told step by step; without, seeds 1 to N.
// The exit code is 1, and the seed named, when a rule is broken:
//   - baseline while critical or while the engine does not answer, from the same look on
//   - steps of an event change at most once a minute once no fault has begun or ended for a while and no other event
//   has
//     changed its steps, and an event that gave a step back takes none within a minute; emergencies excepted from both
//   - without faults nothing is done, and some hours after the last fault all steps are given back
//   - a policy's numbers stay in range
#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>

#include "base/format.h"
#include "plant.h"

namespace {

using infer::Duration;
using infer::Instant;
using infer::control::Decision;
using infer::control::EventKind;
using infer::control::Notice;
using infer::control::Policy;
using infer::sim::Plant;

constexpr double kSettled = 900;        // Seconds after which a state counts as steady.
constexpr double kFaultPhase = 1600;    // All schedules look each second for so long,
constexpr double kLastingPhase = 9000;  // and those with faults that last for so long.
constexpr double kAtMost = 12 * 3600;   // Until everything is given back.
constexpr double kMinute = 60;

Instant at(double seconds) { return Instant::from_ns(0) + Duration::from_seconds(seconds); }

struct Tally {
  uint64_t schedules = 0, looks = 0, steps = 0, criticals = 0;
  double longest_recovery_s = 0;
};

class Run {
 public:
  Run(uint64_t seed, bool aloud) : plant_(seed), aloud_(aloud) {
    policy_ = plant_.config().wished;
    last_change_.fill(-1e9);
    given_back_.fill(-1e9);
  }

  std::string description() const { return plant_.description(); }

  // The rule that was broken, if one was.
  std::optional<std::string> run(Tally& tally) {
    const double end = plant_.faults_end_s();
    const bool lasts = end > kAtMost;
    double now = 0;
    for (; now < (lasts ? kLastingPhase : kFaultPhase); now += 1) {
      if (auto broken = look(now, tally)) return broken;
    }
    while (!lasts && !state_.is_calm()) {
      now += 10;
      if (auto broken = look(now, tally)) return broken;
      if (now > kAtMost) return "not all steps are given back";
    }
    if (!lasts) tally.longest_recovery_s = std::max(tally.longest_recovery_s, now - end);
    if (!lasts && policy_.kv.mode != plant_.config().wished.kv.mode)
      return "calm, but not the policy that was wished for";
    return std::nullopt;
  }

 private:
  std::optional<std::string> look(double now, Tally& tally) {
    ++tally.looks;
    const bool refuses = plant_.is_active(EventKind::kRefused, now);
    infer::control::Snapshot seen = plant_.look(state_, policy_, now);
    if (refused_since_ >= 0) seen.refused_for = Duration::from_seconds(now - refused_since_);
    const bool emergency = *seen.memory_available <= 0.02 || *seen.cpu_celsius >= 100;
    const Decision decision = infer::control::decide(seen, plant_.config(), at(now));
    if (!decision.notices.empty() && refuses) {
      refused_since_ = refused_since_ < 0 ? now : refused_since_;
      return std::nullopt;
    }
    refused_since_ = -1;
    state_ = decision.state;
    policy_ = decision.policy;
    for (const Notice& notice : decision.notices) {
      if (auto broken = judge(notice, now, emergency, tally)) return broken;
    }
    return judge(decision, seen, now);
  }

  std::optional<std::string> judge(const Notice& notice, double now, bool emergency, Tally& tally) {
    if (aloud_) tell(notice, now);
    if (notice.what == Notice::What::kCritical) ++tally.criticals;
    if (notice.what != Notice::What::kStepTaken && notice.what != Notice::What::kStepGivenBack) return std::nullopt;
    ++tally.steps;
    if (plant_.faults().empty()) return "a step without a fault";
    const auto kind = static_cast<size_t>(notice.kind);
    const std::string name(infer::control::event_row(notice.kind).name);
    const bool taken = notice.what == Notice::What::kStepTaken;
    if (taken && !emergency && now - given_back_[kind] < kMinute) return name + " takes what it has just given back";
    const bool steady = now - plant_.quiet_since_s(now) > kSettled && !others_changed(kind, now);
    if (steady && !emergency && now - last_change_[kind] < kMinute) return name + " changes twice within a minute";
    last_change_[kind] = now;
    given_back_[kind] = taken ? -1e9 : now;  // One emergency may bring more than one step.
    return std::nullopt;
  }

  // What another event does changes what this one sees.
  bool others_changed(size_t kind, double now) const {
    for (size_t other = 0; other < last_change_.size(); ++other) {
      if (other != kind && now - last_change_[other] < 2 * kMinute) return true;
    }
    return false;
  }

  std::optional<std::string> judge(const Decision& decision, const infer::control::Snapshot& seen, double now) const {
    const Policy& policy = decision.policy;
    if (state_.critical && !decision.baseline) return "critical without baseline";
    if (seen.engine != infer::engine::EngineCondition::kReady && !decision.baseline &&
        now - last_change_[4] >= kMinute) {
      return "the engine hangs without baseline";
    }
    if (decision.baseline && (policy.kv.mode != infer::kv::KvMode::kF16 || policy.speculate))
      return "a baseline that is none";
    const auto& levels = policy.kv.level_thresholds;
    const bool ordered = levels.l1_int8 >= levels.l2_int4 && levels.l2_int4 >= levels.l3_evict;
    if (!ordered || policy.kv.recent_window < 16 || policy.kv.recent_window > 512) return "a policy out of range";
    return std::nullopt;
  }

  static void tell(const Notice& notice, double now) {
    constexpr const char* kWhat[] = {"takes a step", "gives a step back", "many fallbacks", "critical",
                                     "critical over"};
    std::printf("%8.0f s  %s: %s, %d steps in effect\n", now,
                std::string(infer::control::event_row(notice.kind).name).c_str(),
                kWhat[static_cast<size_t>(notice.what)], notice.steps);
  }

  Plant plant_;
  const bool aloud_;
  infer::control::ControlState state_;
  Policy policy_;
  double refused_since_ = -1;
  std::array<double, infer::control::kEventKinds> last_change_{}, given_back_{};
};

bool simulate(uint64_t seed, bool aloud, Tally& tally) {
  Run run(seed, aloud);
  if (aloud) std::printf("%s\n", run.description().c_str());
  ++tally.schedules;
  const auto broken = run.run(tally);
  if (!broken) return true;
  std::printf("%s\nBROKEN: %s\nreplay: control_sim %llu\n", run.description().c_str(), broken->c_str(),
              static_cast<unsigned long long>(seed));
  return false;
}

}  // namespace

int main(int argc, char** argv) {
  unsigned long long schedules = 2000, seed = 0;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--schedules") == 0 && i + 1 < argc) {
      schedules = std::strtoull(argv[++i], nullptr, 10);
    } else {
      seed = std::strtoull(argv[i], nullptr, 10);
    }
  }
  Tally tally;
  bool good = true;
  if (seed > 0) {
    good = simulate(seed, true, tally);
  } else {
    for (uint64_t each = 1; good && each <= schedules; ++each) good = simulate(each, false, tally);
  }
  std::printf("%llu schedules, %llu looks, %llu changes of steps, %llu times critical, longest recovery %.0f s\n",
              static_cast<unsigned long long>(tally.schedules), static_cast<unsigned long long>(tally.looks),
              static_cast<unsigned long long>(tally.steps), static_cast<unsigned long long>(tally.criticals),
              tally.longest_recovery_s);
  return good ? 0 : 1;
}
