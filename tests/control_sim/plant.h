// A machine that is made up: what policies cost in memory, quality, heat and speed, and what faults do to it.
//
// Simple, but closed: what the control layer decides changes what it sees next, so that it can oscillate if it is
// able to. Thread safety: one thread; a plain value.
#pragma once

#include <string>
#include <vector>

#include "base/rng.h"
#include "control/decide.h"

namespace infer::sim {

struct Fault {
  control::EventKind kind;
  double begin_s, end_s;
  double strength;  // 0..1
};

class Plant {
 public:
  // A policy that fits it while nothing is wrong, and faults; all of it from the seed. Some runs have none, and some
  // have faults that last to the end.
  explicit Plant(uint64_t seed);

  const control::PolicyConfig& config() const { return config_; }
  const std::vector<Fault>& faults() const { return faults_; }
  double faults_end_s() const;
  // Since when no fault has begun or ended.
  double quiet_since_s(double now_s) const;
  bool is_active(control::EventKind kind, double now_s) const { return strength(kind, now_s) > 0; }

  // What is seen at that time under this policy.
  control::Snapshot look(const control::ControlState& state, const control::Policy& policy, double now_s);
  std::string description() const;

 private:
  double strength(control::EventKind kind, double now_s) const;
  double memory_used(const control::Policy& policy, double now_s) const;
  double delta_ppl(const control::Policy& policy, double now_s) const;
  void check_answers(const control::ControlState& state, const control::Policy& policy, double now_s,
                     control::Snapshot& seen);

  Rng rng_;
  control::PolicyConfig config_;
  std::vector<Fault> faults_;
  double base_memory_, base_delta_;
  // Of exact checks, which some machines never have the time for.
  bool checks_ = false;
  double checked_s_ = 0;
  int checked_steps_ = 0;
  int64_t positions_ = 0;
};

}  // namespace infer::sim
