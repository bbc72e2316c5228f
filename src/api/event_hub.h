// Who listens to /v1/events, and what they are told: server-sent events "metrics", "policy", "alert" and
// "evaluation".
//
// A listener that reads slower than events come misses some and is told how many ("lag"); nothing waits for it.
// Thread safety: the agent's thread. Ownership: keeps the sinks of its listeners.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "api/json.h"
#include "control/agent.h"
#include "http/response_sink.h"

namespace infer::api {

class EventHub final : public control::AgentObserver {
 public:
  static constexpr size_t kListenersMax = 64;

  // Starts the stream. False when there are too many already; the sink is not answered then.
  bool add(const http::ResponseSink& sink);
  size_t listeners() const { return listeners_.size(); }
  // Ends all streams.
  void close();

  void on_metrics(const telemetry::Metrics& metrics) override;
  void on_policy(const control::Policy& in_effect, bool baseline) override;
  void on_alert(const control::Alert& alert, WallTime time) override;
  void on_evaluation(const telemetry::EvaluationRecord& record) override;

 private:
  struct Listener {
    http::ResponseSink sink;
    uint64_t missed = 0;
  };
  void tell(std::string_view type, const Json& data);

  std::vector<Listener> listeners_;
  uint64_t next_id_ = 1;
  // The metrics carry the policy, which comes on its own.
  control::Policy policy_;
  bool baseline_ = false;
};

}  // namespace infer::api
