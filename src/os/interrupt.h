// While an InterruptGuard lives, Ctrl-C and a polite request to end (SIGTERM; closing the console on Windows) cancel
// the given source, Ctrl-C as kUser and the request as kShutdown, instead of ending the process. A system call that
// blocks (reading a terminal) is interrupted by them.
//
// A signal that the process ignored before stays ignored (nohup, background jobs of a shell).
// Guards may be nested, and must then go in reverse order; the innermost gets the signal. The one place with
// process-wide state: signal handlers are process-wide.
// Thread safety: create and destroy on one thread; the source must outlive the guard.
#pragma once

#include "base/call_context.h"

namespace infer::os {

class InterruptGuard {
 public:
  explicit InterruptGuard(CancelSource& source);
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

 private:
  CancelSource* source_;
  CancelSource* outer_;
};

}  // namespace infer::os
