// One piece of work beside everything else, on a thread of its own that gets little processor time while others want
// it. Thread safety: one owner. Ownership: destroying it cancels the work and waits for its end; what the work borrows
// must live until then.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "base/call_context.h"
#include "base/result.h"

namespace infer::os {

class BackgroundThread {
 public:
  enum class Share {
    kLeftOver,  // What others leave: disk I/O that nobody waits for.
    kSmall,     // About a tenth of a busy processor: work that makes everything else faster once it is done.
  };
  // The work should look at its token often. kExhausted when the system gives no thread.
  using Work = std::function<Status(CancelToken)>;
  static Result<std::unique_ptr<BackgroundThread>> start(Share share, Work work);

  ~BackgroundThread();
  BackgroundThread(const BackgroundThread&) = delete;
  BackgroundThread& operator=(const BackgroundThread&) = delete;

  // How it ended, or nullopt while it runs.
  std::optional<Status> result() const;
  // Waits for the end: the work's own status. When `call` says stop first, the work is cancelled and its end awaited.
  Status finish(const CallContext& call);

 private:
  struct State;
  explicit BackgroundThread(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace infer::os
