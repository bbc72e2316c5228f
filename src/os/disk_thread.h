// A thread for disk I/O beside the thread that owns it, which never waits for it unless it asks to.
//
// What is to be done lies in a table of the owner's; what goes to and fro are numbers of its entries. Between submit()
// and take_done() an entry belongs to the thread. Urgent numbers are taken first, in order; so that others are not
// forgotten, they get a turn after a few urgent ones. Handing over takes no lock while the thread is at work, and
// allocates nothing.
// Ownership: destroying it drops what was not begun and waits for what was. Thread safety: one owner.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>

#include "base/call_context.h"
#include "base/result.h"

namespace infer::os {

class DiskThread {
 public:
  enum class Urgency { kUrgent, kLater };
  // Called on the thread with up to batch_max numbers of one urgency, in the order of submission. All of them are done
  // when it returns.
  using Work = std::function<void(std::span<const uint32_t> numbers)>;
  // At most numbers_max are under way at once. kExhausted when the system gives no thread. on_done: called on the
  // thread when there is something to take, for an owner that sleeps elsewhere than in wait_for_done; may be empty.
  static Result<std::unique_ptr<DiskThread>> start(size_t numbers_max, size_t batch_max, Work work,
                                                   std::function<void()> on_done = {});

  ~DiskThread();
  DiskThread(const DiskThread&) = delete;
  DiskThread& operator=(const DiskThread&) = delete;

  void submit(uint32_t number, Urgency urgency);
  // A number that is done, or nullopt: none is by now.
  std::optional<uint32_t> take_done();
  // Returns when there is something to take; something is under way. kDeadline or kCancelled when `call` says so first.
  Status wait_for_done(const CallContext& call);

 private:
  struct State;
  explicit DiskThread(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace infer::os
