#include "os/turns.h"

#if defined(__linux__)
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <ctime>
#endif

namespace infer::os {

#if defined(__linux__)

namespace {

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

}  // namespace

void take_turns(Turns turns) {
  constexpr uint64_t kShortNs = 100'000;  // The shortest that the system grants.
  if (turns != Turns::kShort) return;
  SchedulingAttributes attributes{.nice = ::getpriority(PRIO_PROCESS, 0), .runtime_ns = kShortNs};
  (void)::syscall(SYS_sched_setattr, 0, &attributes, 0);
}

void TurnOffer::offer_when_due() {
  const auto now = std::chrono::steady_clock::now();
  if (now - last_ < kInterval) return;
  last_ = now;
  timespec computed{};
  (void)::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &computed);
}

#else

void take_turns(Turns) {}

// What others do is not measured.
void TurnOffer::offer_when_due() {}

#endif

}  // namespace infer::os
