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

void TurnOffer::offer(OfferRule& rule) {
  timespec computed{};
  if (::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &computed) != 0) return;
  const auto now = std::chrono::steady_clock::now();
  const auto own = std::chrono::seconds(computed.tv_sec) + std::chrono::nanoseconds(computed.tv_nsec);
  if (own_) rule.observe(now, now - last_, own - *own_);
  last_ = now;
  own_ = own;
}

#else

void take_turns(Turns) {}

// What others do is not measured.
void TurnOffer::offer(OfferRule&) {}

#endif

bool TurnOffer::interval_is_over(const OfferRule& rule) {
  const auto now = std::chrono::steady_clock::now();
  if (now - last_ < kInterval) return false;
  if (rule.allows(now)) return true;
  own_.reset();
  return false;
}

}  // namespace infer::os
