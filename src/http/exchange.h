// The crossing between a handler, which answers from any thread, and the connection, which lives on one I/O thread.
//
// What the producer says goes into a lock-free list (many writers, one reader) that the I/O thread empties; the wake-up
// is posted only by the writer that finds the list empty. Back-pressure is a count of bytes that are not yet with the
// operating system.
// Thread safety: the first group of functions from any thread, the second on the connection's thread only.
// Ownership: shared by the connection and the ResponseSink; knows the I/O loop weakly, so a sink may outlive the
// server.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "base/call_context.h"
#include "http/message.h"
#include "http/response_sink.h"

namespace infer::http {

// An I/O loop, as far as an exchange knows one.
class Waker {
 public:
  virtual ~Waker() = default;
  // Makes the loop run `work` on its thread. From any thread; drops it when the loop has ended.
  virtual void post(std::function<void()> work) = 0;
};

class Exchange : public std::enable_shared_from_this<Exchange> {
 public:
  struct Finish {};   // The stream is complete.
  struct Abandon {};  // Nobody is left who could say more.
  using Answer = std::variant<Response, StreamHead, std::string, Finish, Abandon>;

  // `on_items` runs on the loop's thread whenever something lies in the list.
  Exchange(std::weak_ptr<Waker> waker, std::function<void()> on_items, size_t stream_bytes_max);
  ~Exchange();
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;

  // What ResponseSink offers, under the same contracts.
  bool reply(Response response);
  bool start_stream(StreamHead head);
  PushResult push(std::string bytes);
  void finish();
  void abandon();
  void on_disconnect(DisconnectCallback callback);
  void on_writable(std::function<void()> callback);
  bool is_gone() const { return ending_.load(std::memory_order_acquire) != kOpen; }

  // On the connection's thread. What was said since the last call, in order; callbacks are kept here.
  std::vector<Answer> take();
  // The answer has been handed to the operating system: from now on nothing is heard and nobody is called.
  void close();
  // The answer cannot arrive any more: the producer is told, once.
  void disconnect(CancelReason reason);
  // How many bytes the connection holds that the operating system has not taken.
  void set_unsent(size_t bytes);

 private:
  using WritableCallback = std::function<void()>;
  using Item = std::variant<Answer, DisconnectCallback, WritableCallback>;
  struct Node;
  static constexpr int kOpen = -1;
  enum class Stage { kOpen, kStreaming, kAnswered };

  void say(Item item);
  std::vector<Item> pop_all();
  void answer_late();
  void end(CancelReason reason);
  void call_if_writable();
  bool has_room(size_t bytes) const;
  bool advance(Stage from, Stage to);

  const std::weak_ptr<Waker> waker_;
  const std::function<void()> on_items_;
  const size_t stream_bytes_max_;
  std::atomic<Node*> newest_{nullptr};
  std::atomic<Stage> stage_{Stage::kOpen};
  std::atomic<int> ending_{kOpen};       // Or a CancelReason; kNone: the answer was handed over.
  std::atomic<size_t> queued_bytes_{0};  // In the list, or taken from it and not yet in unsent_bytes_.
  std::atomic<size_t> unsent_bytes_{0};  // With the connection.
  std::atomic<bool> producer_waits_{false};

  // The connection's thread only.
  DisconnectCallback on_disconnect_;
  WritableCallback on_writable_;
  size_t taken_bytes_ = 0;
};

}  // namespace infer::http
