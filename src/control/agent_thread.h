// The agent's thread: others hand it work, and it runs the agent's loops, the fast one each loops.fast_ms and so on
// (loop_schedule.h). While steps are computed, the thread that does it runs the fast and the mid one between two
// layers, and leaves to this one what is more than a glance. A loop that comes too late to run as often as it should is
// counted (an overrun for each time that it missed).
//
// Thread safety: post() from any thread; one owner. The agent has one user at a time, who has the baton; a step does
// not wait for it. Ownership: owns the agent, borrows the clock and the target. Destroying it does what was posted,
// then ends.
#pragma once

#include <atomic>
#include <functional>
#include <memory>

#include "base/bounded_queue.h"
#include "base/result.h"
#include "base/time.h"
#include "control/agent.h"
#include "control/loop_schedule.h"
#include "os/baton.h"
#include "os/service_thread.h"
#include "os/wake_signal.h"

namespace infer::control {

class AgentThread {
 public:
  // Runs on the agent's thread and should take less than a millisecond.
  using Work = std::function<void(Agent&)>;

  // target: the agent's. kExhausted: no thread.
  static Result<std::unique_ptr<AgentThread>> start(std::unique_ptr<Agent> agent, AgentTarget& target,
                                                    const Clock& clock);
  ~AgentThread();
  AgentThread(const AgentThread&) = delete;
  AgentThread& operator=(const AgentThread&) = delete;

  // False when too much waits already: the work is not done.
  bool post(Work work);

 private:
  AgentThread(std::unique_ptr<Agent> agent, AgentTarget& target, const Clock& clock);
  void serve();
  void do_work();
  void run_loops();
  LoopSchedule::Periods periods() const;
  void count(const LoopSchedule::Run& run);
  // On the thread that computes.
  void on_step(Instant now);
  // Between two steps since it was asked last.
  Duration take_widest(Instant now);

  os::Baton baton_;
  std::unique_ptr<Agent> agent_;  // For who has the baton, like all that has no other comment.
  AgentTarget& target_;           // Constant.
  const Clock& clock_;
  BoundedQueue<Work> queue_;  // Has a lock of its own.
  os::WakeSignal wake_;       // Likewise.
  telemetry::MachineReader reader_;
  telemetry::MachineFacts machine_;  // As the slow loop found it.
  Instant read_again_{};             // Not before, at rest.
  LoopSchedule schedule_;
  std::atomic<int64_t> step_due_{0};  // Of the schedule, so that most steps need no lock.
  std::atomic<int64_t> last_step_{0}, widest_{0};
  std::unique_ptr<os::ServiceThread> thread_;  // Last: it ends first.
};

}  // namespace infer::control
