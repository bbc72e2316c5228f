// One piece of work beside everything else, on a thread of its own that gets what processor time others leave: for disk
// I/O that nobody waits for.
// Thread safety: one owner. Ownership: destroying it cancels the work and waits for its end; what the work borrows must
// live until then.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "base/call_context.h"
#include "base/result.h"

namespace infer::os {

class BackgroundThread {
 public:
  // The work should look at its token often. kExhausted when the system gives no thread.
  using Work = std::function<Status(CancelToken)>;
  static Result<std::unique_ptr<BackgroundThread>> start(Work work);

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
