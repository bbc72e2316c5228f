// Posts alerts that are worth a notification to a URL, as JSON, on a thread of its own.
//
// Each has one budget of time for all its attempts, with growing waits between them; what cannot be delivered is
// counted and told to the log once in a row. When more wait than the queue holds, the new ones are dropped and counted.
// Thread safety: on_alert() on the agent's thread; the counts from any. Ownership: borrows clock and log; destroying it
// gives up what is not delivered.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "base/bounded_queue.h"
#include "base/log.h"
#include "base/result.h"
#include "base/time.h"
#include "control/agent.h"
#include "os/service_thread.h"
#include "os/wake_signal.h"

namespace infer::api {

class Webhook final : public control::AgentObserver {
 public:
  static constexpr size_t kQueued = 64;

  // kExhausted: no thread.
  static Result<std::unique_ptr<Webhook>> start(const control::NotifyConfig& config, const Clock& clock, Log& log);
  ~Webhook() override;

  void on_metrics(const telemetry::Metrics&) override {}
  void on_policy(const control::Policy&, bool) override {}
  void on_alert(const control::Alert& alert, WallTime time) override;
  void on_evaluation(const telemetry::EvaluationRecord&) override {}

  uint64_t delivered() const { return delivered_.load(std::memory_order_relaxed); }
  uint64_t failed() const { return failed_.load(std::memory_order_relaxed); }  // Dropped ones too.

 private:
  Webhook(const control::NotifyConfig& config, const Clock& clock, Log& log)
      : config_(config), clock_(clock), log_(log) {}
  void serve();
  Status deliver(const std::string& body);

  const control::NotifyConfig config_;
  const Clock& clock_;
  Log& log_;
  BoundedQueue<std::string> queue_{kQueued};
  os::WakeSignal wake_;
  CancelSource stop_;
  std::atomic<uint64_t> delivered_{0}, failed_{0};
  bool failing_ = false;                       // The last was not delivered.
  std::unique_ptr<os::ServiceThread> thread_;  // Last: it ends first.
};

}  // namespace infer::api
