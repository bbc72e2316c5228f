// The control agent of a server, ready to be asked: agent and its thread, history, telemetry file, listeners.
//
//   INFER_ASSIGN(auto control, ControlService::start(config, target, clock, log));
//   add_control_routes(site.routes, *control);          // api/control_routes.h
//   control->recorder().record_request(result);         // by whoever ends a request
//
// Thread safety: all of it but start and destruction. Ownership: borrows target, clock and log, which outlive it; it
// outlives the http::Server that has its routes.
#pragma once

#include <functional>
#include <memory>

#include "base/log.h"
#include "base/result.h"
#include "base/time.h"
#include "control/agent_thread.h"
#include "control/config.h"
#include "http/response_sink.h"
#include "telemetry/history_store.h"
#include "telemetry/metrics.h"
#include "telemetry/prometheus.h"
#include "telemetry/recorder.h"

namespace infer::api {

class EventHub;

class ControlService {
 public:
  // Applies the configuration's policy to the target. No history when telemetry.history_file is "". The error is the
  // target's, or the telemetry file's.
  static Result<std::unique_ptr<ControlService>> start(const control::Config& config, control::AgentTarget& target,
                                                       const Clock& clock, Log& log);
  ~ControlService();
  ControlService(const ControlService&) = delete;
  ControlService& operator=(const ControlService&) = delete;

  telemetry::Recorder& recorder();

  // Ends the streams of /v1/events, which would hold up the draining of a server.
  void end_events();

  // On the agent's thread; false when it is overloaded.
  bool post(control::AgentThread::Work work);
  // On the history's thread; false when there is none or it is overloaded.
  bool ask_history(const telemetry::HistoryQuery& query,
                   std::function<void(Result<std::vector<telemetry::HistoryRecord>>)> on_records);
  bool ask_evaluations(int limit, std::function<void(Result<std::vector<telemetry::EvaluationRecord>>)> on_records);
  bool has_history() const;
  Instant now() const;

  // Of the agent's thread, that is within post().
  telemetry::Metrics metrics(control::Agent& agent) const;
  telemetry::AgentCounters counters(const control::Agent& agent) const;
  EventHub& events();

 private:
  struct State;
  explicit ControlService(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace infer::api
