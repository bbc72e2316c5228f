// Where requests come in: checks them, decides whether they can be served in time, and hands them to the step loop.
//
// The decision rests on what the loop published last and on what was handed in since. Thread safety: submit() from any
// thread; it takes a short lock at most. Ownership: borrows loop, watchdog and inbox.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/bounded_queue.h"
#include "base/result.h"
#include "base/time.h"
#include "engine/active_request.h"
#include "engine/admission.h"
#include "engine/answer_stream.h"
#include "engine/request.h"
#include "engine/step_loop.h"
#include "engine/watchdog.h"
#include "os/wake_signal.h"

namespace infer::engine {

struct Submitted {
  // kInvalidArgument: check_request. kBusy: too much waits, or too much to meet a limit: predicted_first tells when it
  // could be; or the engine does not get on. kDeadline: a limit could not be met even alone. kCancelled: the engine
  // stops.
  Status status;
  std::optional<RequestHandle> handle;      // Of the first answer, when the status is Ok.
  std::optional<Duration> predicted_first;  // Until the first token; nullopt while nothing was measured.
  std::vector<RequestHandle> others{};      // Of further answers, in order, when the request asked for them.
};

class Intake {
 public:
  // context, vocabulary: what requests are checked against. `wake` is notified of each submission.
  Intake(StepLoop& loop, Watchdog& watchdog, BoundedQueue<Submission>& inbox, std::shared_ptr<os::WakeSignal> wake,
         int context, int vocabulary)
      : loop_(loop),
        watchdog_(watchdog),
        inbox_(inbox),
        wake_(std::move(wake)),
        context_(context),
        vocabulary_(vocabulary) {}

  Submitted submit(Request request, Instant now);

 private:
  Backlog backlog(Priority priority) const;
  std::vector<std::shared_ptr<AnswerStream>> make_streams(const Request& request, Instant now) const;

  StepLoop& loop_;
  Watchdog& watchdog_;
  BoundedQueue<Submission>& inbox_;
  const std::shared_ptr<os::WakeSignal> wake_;
  const int context_;
  const int vocabulary_;
  // Handed in so far; the loop's counters say how much of it was taken in.
  std::atomic<uint64_t> requests_{0};
  std::atomic<uint64_t> requests_tokens_{0};
};

}  // namespace infer::engine
