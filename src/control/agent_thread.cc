#include "control/agent_thread.h"

#include <utility>
#include <vector>

namespace infer::control {

namespace {

constexpr size_t kQueued = 1024;

}  // namespace

AgentThread::AgentThread(std::unique_ptr<Agent> agent, const Clock& clock)
    : agent_(std::move(agent)), clock_(clock), queue_(kQueued) {}

Result<std::unique_ptr<AgentThread>> AgentThread::start(std::unique_ptr<Agent> agent, const Clock& clock) {
  auto thread = std::unique_ptr<AgentThread>(new AgentThread(std::move(agent), clock));
  INFER_ASSIGN(thread->thread_, os::ServiceThread::start([&each = *thread] { each.serve(); }));
  return thread;
}

AgentThread::~AgentThread() {
  queue_.close();
  wake_.notify();
  thread_.reset();
}

bool AgentThread::post(Work work) {
  if (!queue_.try_push(std::move(work))) return false;
  wake_.notify();
  return true;
}

void AgentThread::serve() {
  std::vector<Work> work;
  Instant next_tick = clock_.now();
  while (true) {
    const bool ends = queue_.closed();
    queue_.take_all(work);
    for (const Work& each : work) each(*agent_);
    const bool was_idle = work.empty();
    work.clear();
    if (ends && was_idle) return;
    if (const Instant now = clock_.now(); now >= next_tick) {
      agent_->tick(telemetry::read_machine_facts(), now, clock_.wall_time());
      next_tick = now + Duration::from_ms(agent_->config().loops.slow_ms);
    }
    if (!ends) wake_.wait_until(next_tick);
  }
}

}  // namespace infer::control
