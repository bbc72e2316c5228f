// Drives a Session by hand, with a clock that the caller moves and a peer that takes as many bytes as it is told to:
// for tests and the fuzzer. Thread safety: one thread, but for what a Waker promises.
#pragma once

#include <algorithm>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "http/session.h"

namespace infer::http {

class SessionDriver {
 public:
  struct Time final : Clock {
    Instant instant = Instant::from_ns(1);
    Instant now() const override { return instant; }
    WallTime wall_time() const override { return {784111777000}; }  // Sun, 06 Nov 1994 08:49:37 GMT
  };
  struct Queue final : Waker {
    std::deque<std::function<void()>> tasks;
    void post(std::function<void()> task) override { tasks.push_back(std::move(task)); }
  };

  explicit SessionDriver(const Site& site)
      : queue_(std::make_shared<Queue>()),
        session_(std::make_unique<Session>(
            site, counters_, time_, queue_, [this] { session_->collect(time_.instant); }, "127.0.0.1:5",
            time_.instant)) {}

  Session& session() { return *session_; }
  Counters& counters() { return counters_; }
  Instant now() const { return time_.instant; }

  // The peer sends, and takes whatever comes. Returns what it received.
  std::string exchange(std::string_view bytes) {
    send(bytes);
    return take_all();
  }

  void send(std::string_view bytes) { session_->receive(bytes, time_.instant); }

  std::string take_all() {
    std::string received;
    run_tasks();
    while (!session_->unsent().empty()) {
      received += take(session_->unsent().size());
      run_tasks();
    }
    return received;
  }

  // At most that many bytes.
  std::string take(size_t bytes) {
    const std::string taken(session_->unsent().substr(0, bytes));
    if (!taken.empty()) session_->sent(taken.size(), time_.instant);
    return taken;
  }

  // Time passes; the session is told when its deadline comes, as often as it does.
  void advance(Duration by) {
    const Instant until = time_.instant + by;
    while (!session_->is_closed() && session_->deadline() <= until) {
      time_.instant = std::max(time_.instant, session_->deadline());
      session_->tick(time_.instant);
    }
    time_.instant = until;
  }

  // What producers posted from elsewhere.
  void run_tasks() {
    while (!queue_->tasks.empty()) {
      const std::function<void()> task = std::move(queue_->tasks.front());
      queue_->tasks.pop_front();
      task();
    }
  }

  // The I/O loop ends; sinks that are left find nobody.
  void end_loop() {
    session_->cut(CancelReason::kShutdown);
    queue_.reset();
  }

 private:
  Time time_;
  Counters counters_;
  std::shared_ptr<Queue> queue_;
  std::unique_ptr<Session> session_;
};

}  // namespace infer::http
