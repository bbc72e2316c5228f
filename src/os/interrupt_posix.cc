#if !defined(_WIN32)

#include <signal.h>

#include <atomic>

#include "base/check.h"
#include "os/interrupt.h"

namespace infer::os {

namespace {

// What the handler may touch: lock-free atomics only.
std::atomic<CancelSource*> g_innermost{nullptr};
std::atomic<int> g_inside_handler{0};
static_assert(std::atomic<CancelSource*>::is_always_lock_free && std::atomic<int>::is_always_lock_free);

// The handlers from before the outermost guard.
struct sigaction g_old_interrupt;
struct sigaction g_old_terminate;

extern "C" void on_signal(int number) {
  g_inside_handler.fetch_add(1, std::memory_order_seq_cst);
  if (CancelSource* source = g_innermost.load(std::memory_order_seq_cst)) {
    source->cancel(number == SIGINT ? CancelReason::kUser : CancelReason::kShutdown);
  }
  g_inside_handler.fetch_sub(1, std::memory_order_seq_cst);
}

void install(int number, struct sigaction* old) {
  struct sigaction action{};
  action.sa_handler = on_signal;
  sigemptyset(&action.sa_mask);
  action.sa_flags = 0;  // No SA_RESTART: who waits for the user must notice.
  INFER_CHECK(::sigaction(number, nullptr, old) == 0);
  if (old->sa_handler != SIG_IGN) INFER_CHECK(::sigaction(number, &action, nullptr) == 0);
}

}  // namespace

InterruptGuard::InterruptGuard(CancelSource& source)
    : source_(&source), outer_(g_innermost.exchange(&source, std::memory_order_seq_cst)) {
  if (outer_) return;
  install(SIGINT, &g_old_interrupt);
  install(SIGTERM, &g_old_terminate);
}

InterruptGuard::~InterruptGuard() {
  CancelSource* expected = source_;
  INFER_CHECK(g_innermost.compare_exchange_strong(expected, outer_, std::memory_order_seq_cst));
  if (!outer_) {
    INFER_CHECK(::sigaction(SIGINT, &g_old_interrupt, nullptr) == 0);
    INFER_CHECK(::sigaction(SIGTERM, &g_old_terminate, nullptr) == 0);
  }
  // A handler on another thread may hold the source still; it is gone within nanoseconds.
  while (g_inside_handler.load(std::memory_order_seq_cst) != 0) {
  }
}

}  // namespace infer::os

#endif
