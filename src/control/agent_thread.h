// The agent's thread: it alone touches the Agent; others hand it work, and it looks at the engine each loops.slow_ms.
//
// Thread safety: post() from any thread; one owner. Ownership: owns the agent, borrows the clock. Destroying it does
// what was posted, then ends.
#pragma once

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

  std::unique_ptr<Agent> agent_;
  const Clock& clock_;
  BoundedQueue<Work> queue_;
  os::WakeSignal wake_;
  std::unique_ptr<os::ServiceThread> thread_;  // Last: it ends first.
};

}  // namespace infer::control
