#include "control/agent_thread.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace infer::control {

namespace {

constexpr size_t kQueued = 1024;
// Asking the system takes longer than all the rest of the loops.
constexpr Duration kReadAtRest = Duration::from_ms(500);
// The fast loop's period while all is well: what it looks at is read by the slow one.
constexpr Duration kFastWhileWell = Duration::from_ms(10);

}  // namespace

AgentThread::AgentThread(std::unique_ptr<Agent> agent, AgentTarget& target, const Clock& clock)
    : agent_(std::move(agent)),
      target_(target),
      clock_(clock),
      queue_(kQueued),
      reader_(telemetry::usable_cores()),
      schedule_(clock.now()) {}

Result<std::unique_ptr<AgentThread>> AgentThread::start(std::unique_ptr<Agent> agent, AgentTarget& target,
                                                        const Clock& clock) {
  auto thread = std::unique_ptr<AgentThread>(new AgentThread(std::move(agent), target, clock));
  INFER_ASSIGN(thread->thread_, os::ServiceThread::start([&each = *thread] { each.serve(); }));
  target.set_on_step([&each = *thread](Instant now) { each.on_step(now); });
  return thread;
}

AgentThread::~AgentThread() {
  target_.set_on_step({});
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
  while (true) {
    const bool ends = queue_.closed();
    Instant next;
    baton_.hold([&] {
      agent_->settle(clock_.now(), clock_.wall_time());
      do_work();
      run_loops();
      next = schedule_.wake_at(agent_->may_rest());
    });
    if (ends) return;
    wake_.wait_until(next);
  }
}

void AgentThread::do_work() {
  std::vector<Work> work;
  queue_.take_all(work);
  for (const Work& each : work) each(*agent_);
}

LoopSchedule::Periods AgentThread::periods() const {
  const LoopConfig& loops = agent_->config().loops;
  const Duration fast = Duration::from_ms(loops.fast_ms);
  return {agent_->is_settled() ? std::max(fast, kFastWhileWell) : fast, Duration::from_ms(loops.mid_ms),
          Duration::from_ms(loops.slow_ms)};
}

void AgentThread::count(const LoopSchedule::Run& run) {
  for (size_t loop = 0; loop < kLoops; ++loop) {
    if (run.due[loop]) agent_->count_loop(static_cast<Loop>(loop), run.missed[loop]);
  }
  step_due_.store(schedule_.step_due().ns(), std::memory_order_relaxed);
}

void AgentThread::run_loops() {
  const Instant now = clock_.now();
  const bool rested = agent_->may_rest();
  if (now < schedule_.wake_at(rested)) return;
  // What it did last may be long ago, where steps came often.
  const bool rests = rested || agent_->look_whether_rests();
  const auto run = schedule_.at_time(now, periods(), rests, take_widest(now));
  if (!run) return;
  count(*run);
  if (run->due[static_cast<size_t>(Loop::kSlow)] && (!rested || now >= read_again_)) {
    machine_ = reader_.read(now);
    read_again_ = now + kReadAtRest;
  }
  agent_->tick(machine_, now, clock_.wall_time(), run->due);
}

Duration AgentThread::take_widest(Instant now) {
  const int64_t since = now.ns() - last_step_.load(std::memory_order_relaxed);
  return Duration::from_ns(std::max(since, widest_.exchange(0, std::memory_order_relaxed)));
}

void AgentThread::on_step(Instant now) {
  const int64_t gap = now.ns() - last_step_.exchange(now.ns(), std::memory_order_relaxed);
  if (gap > widest_.load(std::memory_order_relaxed)) widest_.store(gap, std::memory_order_relaxed);
  if (now.ns() < step_due_.load(std::memory_order_relaxed)) return;
  // Where the agent is at work it looks itself, or the next layer does.
  (void)baton_.try_hold([&] {
    const auto run = schedule_.at_step(now, periods(), agent_->may_rest());
    if (!run) return;
    count(*run);
    if (!agent_->glance(machine_, now, run->due)) wake_.notify();
  });
}

}  // namespace infer::control
