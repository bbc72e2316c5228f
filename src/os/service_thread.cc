#include "os/service_thread.h"

#if defined(__linux__)
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include <cstdint>
#include <system_error>
#include <thread>
#include <utility>

#include "base/format.h"

namespace infer::os {

namespace {

#if defined(__linux__)
// struct sched_attr of the system's first version, which the C library's headers lack.
struct SchedulingAttributes {
  uint32_t size = sizeof(SchedulingAttributes);
  uint32_t policy = SCHED_OTHER;
  uint64_t flags = 0;
  int32_t nice = 0;
  uint32_t priority = 0;
  uint64_t runtime_ns = 0;  // Of SCHED_OTHER: the length of a turn.
  uint64_t deadline_ns = 0;
  uint64_t period_ns = 0;
};
#endif

// Of the thread that calls this.
void take_short_turns() {
#if defined(__linux__)
  constexpr uint64_t kTurnNs = 100'000;  // The shortest that the system grants.
  SchedulingAttributes attributes{.nice = ::getpriority(PRIO_PROCESS, 0), .runtime_ns = kTurnNs};
  (void)::syscall(SYS_sched_setattr, 0, &attributes, 0);
#endif
}

}  // namespace

struct ServiceThread::State {
  std::thread thread;
};

ServiceThread::ServiceThread(std::unique_ptr<State> state) : state_(std::move(state)) {}

ServiceThread::~ServiceThread() { state_->thread.join(); }

Result<std::unique_ptr<ServiceThread>> ServiceThread::start(std::function<void()> work, Turns turns) {
  auto state = std::make_unique<State>();
  try {
    state->thread = std::thread([work = std::move(work), turns] {
      if (turns == Turns::kShort) take_short_turns();
      work();
    });
  } catch (const std::system_error& error) {
    return Error{ErrorCode::kExhausted, format("the system gives no thread: {}", error.what())};
  }
  return std::unique_ptr<ServiceThread>(new ServiceThread(std::move(state)));
}

}  // namespace infer::os
