// A thread that carries answers from the engine to the clients: takes pieces as they come, lets the call's writer put
// them into words, and hands these to the connection, as fast as that takes them.
//
// It owns all calls from their arrival to their end: one whose deadline passes before it is prepared is answered here,
// one whose client is gone is dropped, which cancels it. A client that reads slowly holds up its own call only: pieces
// stay in the engine's ring, and the engine leaves the sequence alone. Tokens that come within a millisecond after
// others go out together.
// Thread safety: take(), cancel(), notify() and calls() from any thread.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "api/call.h"
#include "api/delivery_bell.h"
#include "base/bounded_queue.h"
#include "base/result.h"
#include "base/time.h"
#include "os/service_thread.h"

namespace infer::api {

class Deliverer {
 public:
  static Result<std::unique_ptr<Deliverer>> start(const Clock& clock, size_t calls_max);
  // Answers 503 to what has not begun, breaks off the rest.
  ~Deliverer();
  Deliverer(const Deliverer&) = delete;
  Deliverer& operator=(const Deliverer&) = delete;

  // False when too many are under way.
  bool take(std::shared_ptr<Call> call);
  // Ends the calls of that id and answers how many these were. False when too much waits.
  bool cancel(std::string id, http::ResponseSink sink);
  // Something has changed: room, a cancellation, a call that is prepared. The functions may outlive the deliverer.
  std::function<void()> waker() const;
  // An answer has a piece.
  std::function<void()> piece_waker() const;
  int calls() const { return static_cast<int>(under_way_.load()); }  // Under way.

 private:
  struct CancelOrder {
    std::string id;
    http::ResponseSink sink;
  };
  using Item = std::variant<std::shared_ptr<Call>, CancelOrder>;

  Deliverer(const Clock& clock, size_t calls_max)
      : clock_(clock), calls_max_(calls_max), inbox_(2 * calls_max), bell_(std::make_shared<DeliveryBell>()) {}

  void serve();
  void take_in();
  void obey(const CancelOrder& order);
  void deliver_all();
  void wait();

  const Clock& clock_;
  const size_t calls_max_;
  BoundedQueue<Item> inbox_;
  const std::shared_ptr<DeliveryBell> bell_;
  std::atomic<bool> stops_{false};
  std::atomic<size_t> under_way_{0};
  // The thread's own.
  std::vector<std::shared_ptr<Call>> calls_;
  Instant rests_until_;  // Before it, pieces wake it not.
  std::unique_ptr<os::ServiceThread> thread_;
};

}  // namespace infer::api
