// The agent's thread: it alone touches the Agent; others hand it work, and it runs the agent's loops, the fast one each
// loops.fast_ms and so on. While nothing runs and nothing is wrong, only the slow one. A loop that comes too late to
// run as often as it should is counted (an overrun for each time that it missed).
//
// Thread safety: post() from any thread; one owner. Ownership: owns the agent, borrows the clock. Destroying it does
// what was posted, then ends.
#pragma once

#include <array>
#include <functional>
#include <memory>

#include "base/bounded_queue.h"
#include "base/result.h"
#include "base/time.h"
#include "control/agent.h"
#include "os/service_thread.h"
#include "os/wake_signal.h"

namespace infer::control {

class AgentThread {
 public:
  // Runs on the agent's thread and should take less than a millisecond.
  using Work = std::function<void(Agent&)>;

  // kExhausted: no thread.
  static Result<std::unique_ptr<AgentThread>> start(std::unique_ptr<Agent> agent, const Clock& clock);
  ~AgentThread();
  AgentThread(const AgentThread&) = delete;
  AgentThread& operator=(const AgentThread&) = delete;

  // False when too much waits already: the work is not done.
  bool post(Work work);

 private:
  AgentThread(std::unique_ptr<Agent> agent, const Clock& clock);
  void serve();
  void run_loops();
  // The earliest loop that is to run.
  Instant next() const;

  std::unique_ptr<Agent> agent_;
  const Clock& clock_;
  BoundedQueue<Work> queue_;
  os::WakeSignal wake_;
  const double cores_;
  telemetry::MachineFacts machine_;  // As the slow loop found it.
  Instant read_again_{};             // Not before, at rest.
  std::array<Instant, kLoops> next_{};
  std::unique_ptr<os::ServiceThread> thread_;  // Last: it ends first.
};

}  // namespace infer::control
