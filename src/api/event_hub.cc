#include "api/event_hub.h"

#include "api/evaluation_json.h"
#include "api/metrics_json.h"
#include "http/event_stream.h"

namespace infer::api {

bool EventHub::add(const http::ResponseSink& sink) {
  std::erase_if(listeners_, [](const Listener& each) { return each.sink.is_client_gone(); });
  if (listeners_.size() >= kListenersMax) return false;
  if (sink.start_stream(http::event_stream_head())) listeners_.push_back({sink, 0});
  return true;
}

void EventHub::close() {
  for (const Listener& listener : listeners_) listener.sink.finish();
  listeners_.clear();
}

void EventHub::tell(std::string_view type, const Json& data) {
  if (listeners_.empty()) return;
  const std::string id = std::to_string(next_id_++);
  const std::string text = http::event_text({std::string(type), data.dump(), id});
  std::erase_if(listeners_, [&](Listener& listener) {
    std::string bytes = text;
    if (listener.missed > 0) {
      bytes = http::event_text({"lag", Json::object().set("missed", listener.missed).dump(), ""}) + text;
    }
    const http::PushResult pushed = listener.sink.push(std::move(bytes));
    listener.missed = pushed == http::PushResult::kFull ? listener.missed + 1 : 0;
    return pushed == http::PushResult::kGone;
  });
}

void EventHub::on_metrics(const telemetry::Metrics& metrics) {
  if (!listeners_.empty()) tell("metrics", metrics_json(metrics, policy_, baseline_));
}

void EventHub::on_policy(const control::Policy& in_effect, bool baseline) {
  policy_ = in_effect;
  baseline_ = baseline;
  tell("policy", Json::object().set("baseline", baseline).set("policy", policy_json(in_effect)));
}

void EventHub::on_evaluation(const telemetry::EvaluationRecord& record) { tell("evaluation", evaluation_json(record)); }

void EventHub::on_alert(const control::Alert& alert, WallTime time) { tell("alert", alert_json(alert, time)); }

}  // namespace infer::api
