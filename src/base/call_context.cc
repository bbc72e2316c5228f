#include "base/call_context.h"

#include "base/format.h"

namespace infer {

namespace {

const char* reason_text(CancelReason reason) {
  switch (reason) {
    case CancelReason::kNone: return "no reason";
    case CancelReason::kClientGone: return "the client is gone";
    case CancelReason::kUser: return "stopped by the user";
    case CancelReason::kShutdown: return "shutting down";
    case CancelReason::kPolicy: return "stopped by policy";
  }
  return "unknown reason";
}

}  // namespace

Status CallContext::check(std::string_view what) const {
  if (cancel.cancelled()) {
    return Error{ErrorCode::kCancelled, format("{}: {}", what, reason_text(cancel.reason()))};
  }
  const Instant now = clock.now();
  if (deadline.passed(now)) {
    return Error{ErrorCode::kDeadline,
                 format("{}: the deadline passed {:.1f} ms ago", what, (now - deadline.when()).ms())};
  }
  return {};
}

}  // namespace infer
