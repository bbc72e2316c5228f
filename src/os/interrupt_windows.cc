#if defined(_WIN32)

#include "os/windows_api.h"

#include <atomic>

#include "base/check.h"
#include "os/interrupt.h"

namespace infer::os {

namespace {

// The system calls the handler on a thread of its own.
std::atomic<CancelSource*> g_innermost{nullptr};
std::atomic<int> g_inside_handler{0};

BOOL WINAPI on_console_event(DWORD event) {
  const bool by_user = event == CTRL_C_EVENT || event == CTRL_BREAK_EVENT;
  g_inside_handler.fetch_add(1, std::memory_order_seq_cst);
  CancelSource* source = g_innermost.load(std::memory_order_seq_cst);
  if (source) source->cancel(by_user ? CancelReason::kUser : CancelReason::kShutdown);
  g_inside_handler.fetch_sub(1, std::memory_order_seq_cst);
  return source ? TRUE : FALSE;
}

}  // namespace

InterruptGuard::InterruptGuard(CancelSource& source)
    : source_(&source), outer_(g_innermost.exchange(&source, std::memory_order_seq_cst)) {
  if (!outer_) INFER_CHECK(::SetConsoleCtrlHandler(on_console_event, TRUE) != 0);
}

InterruptGuard::~InterruptGuard() {
  CancelSource* expected = source_;
  INFER_CHECK(g_innermost.compare_exchange_strong(expected, outer_, std::memory_order_seq_cst));
  if (!outer_) INFER_CHECK(::SetConsoleCtrlHandler(on_console_event, FALSE) != 0);
  // A handler may hold the source still; it is gone within nanoseconds.
  while (g_inside_handler.load(std::memory_order_seq_cst) != 0) {
  }
}

}  // namespace infer::os

#endif
