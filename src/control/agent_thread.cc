#include "control/agent_thread.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace infer::control {

namespace {

constexpr size_t kQueued = 1024;
// Asking the system takes longer than all the rest of the loops.
constexpr Duration kReadAtRest = Duration::from_ms(500);
// The fast loop's period while all is well. Waking up each millisecond beside threads that compute on all processors
// took 4 % of their speed.
constexpr Duration kFastWhileWell = Duration::from_ms(10);

}  // namespace

AgentThread::AgentThread(std::unique_ptr<Agent> agent, const Clock& clock)
    : agent_(std::move(agent)), clock_(clock), queue_(kQueued), cores_(telemetry::usable_cores()) {}

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
  next_.fill(clock_.now());
  while (true) {
    const bool ends = queue_.closed();
    queue_.take_all(work);
    for (const Work& each : work) each(*agent_);
    const bool was_idle = work.empty();
    work.clear();
    if (ends && was_idle) return;
    run_loops();
    if (!ends) wake_.wait_until(next());
  }
}

Instant AgentThread::next() const {
  if (agent_->may_rest()) return next_[static_cast<size_t>(Loop::kSlow)];
  return *std::min_element(next_.begin(), next_.end());
}

void AgentThread::run_loops() {
  const Instant now = clock_.now();
  const LoopConfig& loops = agent_->config().loops;
  const Duration fast = Duration::from_ms(loops.fast_ms), mid = Duration::from_ms(loops.mid_ms);
  const std::array<Duration, kLoops> periods{agent_->is_settled() ? std::max(fast, kFastWhileWell) : fast, mid,
                                             Duration::from_ms(loops.slow_ms)};
  if (now < next()) return;
  const bool rested = agent_->may_rest();
  DueLoops due{};
  for (size_t loop = 0; loop < kLoops; ++loop) {
    if (now < next_[loop]) continue;
    due[loop] = true;
    const int64_t missed = (now - next_[loop]).ns() / periods[loop].ns();
    agent_->count_loop(static_cast<Loop>(loop), rested ? 0 : static_cast<uint64_t>(missed));
    // In step with the period, unless it was missed.
    next_[loop] = (missed > 0 ? now : next_[loop]) + periods[loop];
  }
  // One wake-up for both.
  if (periods[0] == mid) next_[0] = next_[1];
  if (due[static_cast<size_t>(Loop::kSlow)] && (!rested || now >= read_again_)) {
    machine_ = telemetry::read_machine_facts(cores_);
    read_again_ = now + kReadAtRest;
  }
  agent_->tick(machine_, now, clock_.wall_time(), due);
}

}  // namespace infer::control
