#include "api/control_service.h"

#include <optional>
#include <utility>

#include "api/evaluation_json.h"
#include "api/event_hub.h"
#include "api/metrics_json.h"
#include "api/webhook.h"
#include "base/format.h"
#include "telemetry/history.h"
#include "telemetry/history_record.h"
#include "telemetry/line_log.h"
#include "telemetry/timestamp.h"

namespace infer::api {

namespace {

// Keeps what the agent sees: a record in the history and a line in the telemetry file for each sample, a line for each
// change and alert.
class Archive final : public control::AgentObserver {
 public:
  Archive(telemetry::History* history, std::optional<telemetry::LineLog> lines, const Clock& clock, Log& log)
      : history_(history), lines_(std::move(lines)), clock_(clock), log_(log) {}

  void on_metrics(const telemetry::Metrics& metrics) override {
    const telemetry::HistoryRecord record = telemetry::history_record(metrics);
    if (history_) (void)history_->append(record);  // A dropped one is counted there.
    Json line = Json::object();
    for (size_t i = 0; i < record.values.size(); ++i) {
      line.set(telemetry::kHistoryMetrics[i], record.values[i] ? Json(*record.values[i]) : Json());
    }
    write("metrics", metrics.time, line);
  }
  void on_policy(const control::Policy& in_effect, bool baseline) override {
    write("policy", clock_.wall_time(), Json::object().set("baseline", baseline).set("policy", policy_json(in_effect)));
  }
  void on_alert(const control::Alert& alert, WallTime time) override { write("alert", time, alert_json(alert, time)); }
  void on_evaluation(const telemetry::EvaluationRecord& record) override {
    if (history_) (void)history_->append_evaluation(record);
    write("evaluation", record.time, evaluation_json(record));
  }

 private:
  void write(const char* type, WallTime time, const Json& data) {
    if (!lines_) return;
    Json line = Json::object();
    line.set("timestamp", telemetry::timestamp(time)).set("type", type);
    for (const auto& [key, value] : data.members()) line.set(key, value);
    const Status done = lines_->append(line.dump());
    if (!done && !failed_) log_.write(LogLevel::kWarning, format("telemetry file: {}", done.error().message));
    failed_ = !done;
  }

  telemetry::History* history_;
  std::optional<telemetry::LineLog> lines_;
  const Clock& clock_;
  Log& log_;
  bool failed_ = false;  // The last line was not written, which is told once.
};

}  // namespace

// What is declared first lives longest: the agent's thread ends before what it tells.
struct ControlService::State {
  State(const Clock& the_clock, Log& the_log) : clock(the_clock), log(the_log) {}

  const Clock& clock;
  Log& log;
  const double cores = telemetry::usable_cores();
  telemetry::Recorder recorder;
  std::unique_ptr<telemetry::History> history;
  std::unique_ptr<Archive> archive;
  EventHub events;
  std::unique_ptr<Webhook> webhook;
  std::unique_ptr<control::AgentThread> thread;
};

ControlService::ControlService(std::unique_ptr<State> state) : state_(std::move(state)) {}

Result<std::unique_ptr<ControlService>> ControlService::start(const control::Config& config,
                                                              control::AgentTarget& target, const Clock& clock,
                                                              Log& log) {
  auto state = std::make_unique<State>(clock, log);
  const control::TelemetryConfig& wished = config.telemetry;
  if (wished.history && !wished.history_file.empty()) {
    const telemetry::HistoryLimits limits{.retention_ms = int64_t{wished.history_days} * 86'400'000,
                                          .bytes = wished.history_bytes};
    INFER_ASSIGN(state->history, telemetry::History::start(wished.history_file, limits, clock, log));
  }
  std::optional<telemetry::LineLog> lines;
  if (!wished.log_file.empty()) {
    INFER_ASSIGN(lines, telemetry::LineLog::open(wished.log_file, wished.log_bytes, wished.log_files));
  }
  state->archive = std::make_unique<Archive>(state->history.get(), std::move(lines), clock, log);
  auto agent = std::make_unique<control::Agent>(config, target, state->recorder, log, clock.now());
  agent->add_observer(*state->archive);
  agent->add_observer(state->events);
  if (!config.notify.webhook.empty()) {
    INFER_ASSIGN(state->webhook, Webhook::start(config.notify, clock, log));
    agent->add_observer(*state->webhook);
  }
  INFER_TRY(agent->start());
  state->events.on_policy(agent->policy_in_effect(), agent->baseline());
  INFER_ASSIGN(state->thread, control::AgentThread::start(std::move(agent), target, clock));
  return std::unique_ptr<ControlService>(new ControlService(std::move(state)));
}

ControlService::~ControlService() {
  state_->thread.reset();
  state_->events.close();  // Its thread has ended, so it is ours.
}

void ControlService::end_events() {
  (void)post([this](control::Agent&) { state_->events.close(); });
}

telemetry::Recorder& ControlService::recorder() { return state_->recorder; }
bool ControlService::post(control::AgentThread::Work work) { return state_->thread->post(std::move(work)); }
bool ControlService::has_history() const { return state_->history != nullptr; }
Instant ControlService::now() const { return state_->clock.now(); }
EventHub& ControlService::events() { return state_->events; }

bool ControlService::ask_history(const telemetry::HistoryQuery& query,
                                 std::function<void(Result<std::vector<telemetry::HistoryRecord>>)> on_records) {
  return state_->history && state_->history->query(query, std::move(on_records));
}

bool ControlService::ask_evaluations(int limit,
                                     std::function<void(Result<std::vector<telemetry::EvaluationRecord>>)> on_records) {
  return state_->history && state_->history->query_evaluations(limit, std::move(on_records));
}

telemetry::Metrics ControlService::metrics(control::Agent& agent) const {
  return agent.metrics(telemetry::read_machine_facts(state_->cores), state_->clock.now(), state_->clock.wall_time());
}

telemetry::AgentCounters ControlService::counters(const control::Agent& agent) const {
  telemetry::AgentCounters counters{.policy_changes = agent.policy_changes(),
                                    .alerts = agent.alerts(),
                                    .history_written = state_->history ? state_->history->written() : 0,
                                    .history_dropped = state_->history ? state_->history->dropped() : 0,
                                    .baseline = agent.baseline()};
  for (size_t i = 0; i < counters.fallbacks.size(); ++i) {
    const auto reason = static_cast<control::FallbackReason>(i);
    counters.fallbacks[i] = {control::fallback_reason_name(reason), agent.fallbacks()[i]};
  }
  for (size_t i = 0; i < counters.loop_runs.size(); ++i) {
    const char* const name = control::loop_name(static_cast<control::Loop>(i));
    counters.loop_runs[i] = {name, agent.loops()[i].runs};
    counters.loop_overruns[i] = {name, agent.loops()[i].overruns};
  }
  for (const control::EventRow& row : control::event_table()) {
    counters.steps_back[static_cast<size_t>(row.kind)] = {row.name,
                                                          static_cast<uint64_t>(agent.state().steps(row.kind))};
  }
  return counters;
}

}  // namespace infer::api
