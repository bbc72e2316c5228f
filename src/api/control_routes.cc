#include "api/control_routes.h"

#include <algorithm>
#include <array>
#include <utility>

#include "api/api_error.h"
#include "api/control_answer.h"
#include "api/event_hub.h"
#include "api/experiment_routes.h"
#include "api/metrics_json.h"
#include "api/settings_json.h"
#include "base/format.h"
#include "base/quoted_text.h"
#include "telemetry/timestamp.h"

namespace infer::api {

namespace {

using control::Agent;
using control::SettingScope;
using http::Request;
using http::ResponseSink;

constexpr std::string_view kJsonType = "application/json";

// ---- Metrics.

void get_metrics(ControlService& service, const Request&, const ResponseSink& sink) {
  answer(service, sink, [&service](Agent& agent) {
    return json_response(200, metrics_json(service.metrics(agent), agent.policy_in_effect(), agent.baseline()));
  });
}

void get_prometheus(ControlService& service, const Request& request, const ResponseSink& sink) {
  const std::string word = request.query_value("names").value_or("inferos");
  const auto names = telemetry::metric_names(word);
  if (!names) {
    sink.reply(
        error_response(400, "Invalid query", format("names must be inferos, vllm or llamacpp, not {}", quoted(word))));
    return;
  }
  answer(service, sink, [&service, names = *names](Agent& agent) {
    return http::make_response(
        200, telemetry::kPrometheusContentType,
        telemetry::prometheus_text(service.metrics(agent), service.recorder(), service.counters(agent), names));
  });
}

// ---- Policy and configuration.

// Of the settings that a document names, those that nothing here follows, with the reason.
Json without_effect(std::span<const control::DocumentEntry> entries) {
  Json found = Json::object();
  for (const control::DocumentEntry& entry : entries) {
    const control::Setting* const setting = control::find_setting(entry.key);
    if (setting && setting->needs_device) {
      found.set(setting->key, "kept, but there is no GPU or NPU here: the processor does the work");
    }
  }
  return found;
}

Json without_effect(const std::string& body) {
  const auto json = Json::parse(body);
  const auto entries = json ? document_entries(*json) : json.error();
  return entries ? without_effect(*entries) : Json::object();
}

void get_policy(ControlService& service, const Request&, const ResponseSink& sink) {
  answer(service, sink, [](Agent& agent) { return json_response(200, policy_json(agent.config().policy)); });
}

void post_policy(ControlService& service, const Request& request, const ResponseSink& sink) {
  if (refuse_large(request, sink)) return;
  answer(service, sink, [body = request.body](Agent& agent) {
    control::Config wished = agent.config();
    if (const Status read = apply_json(body, SettingScope::kPolicy, wished); !read) {
      return error_response(400, "Invalid policy configuration", read.error().message);
    }
    if (const auto changed = agent.change(wished); !changed) {
      return error_response(503, "The policy could not be applied", changed.error().message);
    }
    return json_response(200, Json::object()
                                  .set("status", "applied")
                                  .set("baseline", agent.baseline())
                                  .set("policy", policy_json(agent.config().policy))
                                  .set("without_effect", without_effect(body)));
  });
}

void post_baseline(ControlService& service, const Request& request, const ResponseSink& sink) {
  if (refuse_large(request, sink)) return;
  const auto body = read_body(request);
  if (!body) {
    sink.reply(error_response(400, "Invalid baseline request", body.error().message));
    return;
  }
  bool enable = true;
  if (*body) {
    for (const auto& [key, value] : (*body)->members()) {
      if (key == "enable" && value.as_bool()) {
        enable = *value.as_bool();
      } else {
        sink.reply(error_response(400, "Invalid baseline request",
                                  key == "enable" ? "enable must be true or false"
                                                  : format("unknown key {}; there is enable alone", quoted(key))));
        return;
      }
    }
  }
  answer(service, sink, [enable](Agent& agent) {
    if (const Status set = agent.set_baseline(enable); !set) {
      return error_response(503, "Baseline mode could not be changed", set.error().message);
    }
    return json_response(200, Json::object()
                                  .set("status", "applied")
                                  .set("baseline", agent.baseline())
                                  .set("policy_in_effect", policy_json(agent.policy_in_effect())));
  });
}

void get_config(ControlService& service, const Request&, const ResponseSink& sink) {
  answer(service, sink, [](Agent& agent) {
    Json restart = Json::array();
    for (const control::Setting& setting : control::settings()) {
      if (setting.effect == control::SettingEffect::kRestart) restart.push(setting.key);
    }
    return json_response(200, Json::object()
                                  .set("infer_os", settings_json(agent.config(), SettingScope::kConfig))
                                  .set("needs_restart", std::move(restart)));
  });
}

Json keys_json(std::span<const control::Setting* const> settings) {
  Json keys = Json::array();
  for (const control::Setting* setting : settings) keys.push(setting->key);
  return keys;
}

// What GET shows may be sent back: its secrets, which are not shown, are left out, and so is the list beside it.
Result<std::vector<control::DocumentEntry>> config_entries(const Json& body) {
  const Json* const inner = body.find("infer_os");
  for (const auto& [key, value] : body.members()) {
    if (inner && key != "infer_os" && key != "needs_restart") {
      return Error{ErrorCode::kInvalidArgument, format("unknown key {} beside infer_os", quoted(key))};
    }
  }
  INFER_ASSIGN(std::vector<control::DocumentEntry> entries, document_entries(inner ? *inner : body));
  std::erase_if(entries, [](const control::DocumentEntry& entry) {
    const control::Setting* const setting = control::find_setting(entry.key);
    const auto* const text = std::get_if<std::string>(&entry.value);
    return setting && setting->is_secret &&
           (std::holds_alternative<control::NullValue>(entry.value) || (text && *text == "set"));
  });
  return entries;
}

void post_config(ControlService& service, const Request& request, const ResponseSink& sink) {
  if (refuse_large(request, sink)) return;
  const auto body = read_body(request);
  auto entries = body ? config_entries(body->value_or(Json::object())) : body.error();
  if (!entries) {
    sink.reply(error_response(400, "Invalid configuration", entries.error().message));
    return;
  }
  answer(service, sink, [entries = std::move(*entries)](Agent& agent) {
    control::Config wished = agent.config();
    if (const Status read = control::apply_document(entries, SettingScope::kConfig, wished); !read) {
      return error_response(400, "Invalid configuration", read.error().message);
    }
    const auto changed = agent.change(wished);
    if (!changed) return error_response(503, "The configuration could not be applied", changed.error().message);
    return json_response(200, Json::object()
                                  .set("applied", keys_json(changed->applied))
                                  .set("needs_restart", keys_json(changed->needs_restart))
                                  .set("without_effect", without_effect(entries)));
  });
}

// ---- History.

// Smaller numbers than this are seconds: in milliseconds it is a day of 1973.
constexpr int64_t kSecondsMax = 100'000'000'000;

// As seconds or milliseconds since 1970, or as replies write it; 0 when it is not said.
Result<int64_t> query_time(const Request& request, const char* name) {
  if (const auto time = telemetry::read_timestamp(request.query_value(name).value_or(""))) return time->unix_ms;
  INFER_ASSIGN(const int64_t number, query_number(request, name, 0, 0, int64_t{1} << 52));
  return number < kSecondsMax ? number * 1000 : number;
}

Result<telemetry::HistoryQuery> history_query(const Request& request, const std::string& metric) {
  INFER_ASSIGN(const int64_t limit, query_number(request, "limit", 1000, 1, telemetry::kHistoryLimitMax));
  INFER_ASSIGN(const int64_t since, query_time(request, "since"));
  const auto& known = telemetry::kHistoryMetrics;
  if (!metric.empty() && std::find(known.begin(), known.end(), metric) == known.end()) {
    std::string names;
    for (const std::string_view name : known) names.append(names.empty() ? "" : ", ").append(name);
    return Error{ErrorCode::kInvalidArgument, format("metric must be one of {}, not {}", names, quoted(metric))};
  }
  return telemetry::HistoryQuery{.since_unix_ms = since, .limit = static_cast<int>(limit)};
}

void get_history(ControlService& service, const Request& request, const ResponseSink& sink) {
  const std::string metric = request.query_value("metric").value_or("");
  const auto query = history_query(request, metric);
  if (!query) {
    sink.reply(error_response(400, "Invalid query", query.error().message));
    return;
  }
  const bool asked = service.ask_history(*query, [sink, metric](auto records) {
    sink.reply(records ? json_response(200, history_json(*records, metric))
                       : error_response(503, "The history cannot be read", records.error().message));
  });
  if (!asked) {
    sink.reply(error_response(
        503, "No history",
        service.has_history() ? "too many questions wait; try again" : "telemetry.history is switched off"));
  }
}

// ---- What the next job will be.

Result<control::RunContext> read_run_context(const Json& body) {
  control::RunContext context;
  for (const auto& [key, value] : body.members()) {
    if (key == "seq_len") {
      INFER_ASSIGN(const double tokens, body_number(key, value, 1, 1 << 24, true));
      context.seq_len = static_cast<int>(tokens);
    } else if (key == "batch") {
      INFER_ASSIGN(const double count, body_number(key, value, 1, 4096, true));
      context.batch = static_cast<int>(count);
    } else if (key == "target_ftl_ms") {
      INFER_ASSIGN(context.target_ftl_ms, body_number(key, value, 1, 86'400'000, false));
    } else if (key == "quality_budget") {
      INFER_ASSIGN(context.quality_budget, body_number(key, value, 0, 2, false));
    } else {
      return Error{ErrorCode::kInvalidArgument,
                   format("unknown key {}; there are seq_len, batch, target_ftl_ms and quality_budget", quoted(key))};
    }
  }
  return context;
}

void post_run_context(ControlService& service, const Request& request, const ResponseSink& sink) {
  if (refuse_large(request, sink)) return;
  const auto body = read_body(request);
  const auto context = body ? read_run_context(body->value_or(Json::object())) : body.error();
  if (!context) {
    sink.reply(error_response(400, "Invalid run context", context.error().message));
    return;
  }
  answer(service, sink, [context = *context](Agent& agent) {
    agent.set_run_context(context);
    const control::RunForecast forecast = agent.forecast();
    const auto or_null = [](const auto& value) { return value ? Json(*value) : Json(); };
    return json_response(200,
                         Json::object()
                             .set("status", "accepted")
                             .set("expected", Json::object()
                                                  .set("first_token_ms", or_null(forecast.first_token_ms))
                                                  .set("last_first_token_ms", or_null(forecast.last_first_token_ms))
                                                  .set("meets_target", or_null(forecast.meets_target)))
                             .set("policy_in_effect", policy_json(agent.policy_in_effect())));
  });
}

// ---- Events and the description.

void get_events(ControlService& service, const Request&, const ResponseSink& sink) {
  const bool taken = service.post([&service, sink](Agent&) {
    if (!service.events().add(sink)) {
      sink.reply(error_response(503, "Too many listeners", format("there are {} already", EventHub::kListenersMax)));
    }
  });
  if (!taken) sink.reply(error_response(503, "The agent is busy", "too many control requests wait; try again"));
}

void get_openapi(ControlService&, const Request&, const ResponseSink& sink) {
  sink.reply(json_response(200, openapi_document()));
}

// ---- The table.

Json policy_schema() { return settings_schema(SettingScope::kPolicy); }
Json config_schema() { return settings_schema(SettingScope::kConfig); }
Json baseline_schema() {
  return any_object()
      .set("properties", Json::object().set("enable", Json::object().set("type", "boolean").set("default", true)))
      .set("additionalProperties", false);
}
Json run_context_schema() {
  const auto number = [](const char* type, double least, double most) {
    return Json::object().set("type", type).set("minimum", least).set("maximum", most);
  };
  return any_object()
      .set("properties", Json::object()
                             .set("seq_len", number("integer", 1, 1 << 24))
                             .set("batch", number("integer", 1, 4096))
                             .set("target_ftl_ms", number("number", 1, 86'400'000))
                             .set("quality_budget", number("number", 0, 2)))
      .set("additionalProperties", false);
}

struct ControlRoute {
  const char* method;
  const char* path;
  http::Access access;
  void (*handler)(ControlService&, const Request&, const ResponseSink&);
  const char* summary;
  const char* content_type = "application/json";
  Json (*request)() = nullptr;  // Of the body; null: none.
  Json (*reply)() = any_object;
  std::array<const char*, 3> query{};  // Names of what may follow the question mark.
};

constexpr auto kOpen = http::Access::kOpen;
constexpr auto kToken = http::Access::kToken;
constexpr const char* kText = "text/plain";

constexpr std::array kRoutes{
    ControlRoute{"GET", "/v1/metrics", kOpen, get_metrics, "Figures of the last minute"},
    ControlRoute{"GET",
                 "/v1/metrics/prometheus",
                 kOpen,
                 get_prometheus,
                 "The same for Prometheus",
                 kText,
                 nullptr,
                 any_object,
                 {"names"}},
    ControlRoute{
        "GET", "/metrics", kOpen, get_prometheus, "The same for Prometheus", kText, nullptr, any_object, {"names"}},
    ControlRoute{"GET", "/v1/policy", kOpen, get_policy, "The policy", "application/json", nullptr, policy_schema},
    ControlRoute{"POST", "/v1/policy", kToken, post_policy, "Changes what the document names, at once",
                 "application/json", policy_schema},
    ControlRoute{"POST", "/v1/baseline", kToken, post_baseline, "Switches all optimization off, or on again",
                 "application/json", baseline_schema},
    ControlRoute{"GET", "/v1/config", kOpen, get_config, "The whole configuration"},
    ControlRoute{"POST", "/v1/config", kToken, post_config, "Changes what can change; names what needs a restart",
                 "application/json", config_schema},
    ControlRoute{"GET",
                 "/v1/history",
                 kOpen,
                 get_history,
                 "Samples of the past",
                 "application/json",
                 nullptr,
                 any_object,
                 {"limit", "since", "metric"}},
    ControlRoute{"POST", "/v1/run-context", kToken, post_run_context, "Says what the next job will be",
                 "application/json", run_context_schema},
    ControlRoute{"POST", "/v1/evaluate", kToken, post_evaluate, "Starts an evaluation of quality, or ends it",
                 "application/json", evaluation_schema},
    ControlRoute{"GET",
                 "/v1/evaluate",
                 kToken,
                 get_evaluate,
                 "Progress, exact checks, and what evaluations found",
                 "application/json",
                 nullptr,
                 any_object,
                 {"limit"}},
    ControlRoute{"POST", "/v1/tune", kToken, post_tune, "Searches settings in idle time; ends or undoes that",
                 "application/json", tune_schema},
    ControlRoute{"GET", "/v1/tune", kToken, get_tune, "What is tried, what was chosen, and why"},
    ControlRoute{"POST", "/v1/ab", kToken, post_ab, "Compares two policies on the requests that come, or ends that",
                 "application/json", ab_schema},
    ControlRoute{"GET", "/v1/ab", kToken, get_ab, "What two policies have shown so far"},
    ControlRoute{"GET", "/v1/events", kOpen, get_events, "Metrics, policy changes and alerts as they come",
                 "text/event-stream"},
    ControlRoute{"GET", "/openapi.json", kOpen, get_openapi, "This description"},
};

Json operation_json(const ControlRoute& route) {
  Json reply = Json::object().set("description", "OK");
  Json schema =
      std::string_view(route.content_type) == kJsonType ? route.reply() : Json::object().set("type", "string");
  reply.set("content", Json::object().set(route.content_type, Json::object().set("schema", std::move(schema))));
  Json replies = Json::object();
  replies.set("200", std::move(reply));
  for (const char* const status : {"400", "503"}) {
    replies.set(status, Json::object().set("$ref", "#/components/responses/Error"));
  }
  Json operation = Json::object();
  operation.set("summary", route.summary);
  Json parameters = Json::array();
  for (const char* const name : route.query) {
    if (name) {
      parameters.push(
          Json::object().set("name", name).set("in", "query").set("schema", Json::object().set("type", "string")));
    }
  }
  if (!parameters.elements().empty()) operation.set("parameters", std::move(parameters));
  if (route.request) {
    operation.set("requestBody",
                  Json::object().set("content", Json::object().set("application/json",
                                                                   Json::object().set("schema", route.request()))));
  }
  if (route.access == kToken) {
    operation.set("security", Json::array().push(Json::object().set("token", Json::array())));
    replies.set("401", Json::object().set("$ref", "#/components/responses/Error"));
  }
  return operation.set("responses", std::move(replies));
}

Json components_json() {
  Json error = any_object().set(
      "properties",
      Json::object().set("error",
                         any_object().set("properties", Json::object()
                                                            .set("code", Json::object().set("type", "integer"))
                                                            .set("message", Json::object().set("type", "string"))
                                                            .set("details", Json::object().set("type", "string")))));
  Json reply =
      Json::object()
          .set("description", "What is wrong")
          .set("content", Json::object().set("application/json", Json::object().set("schema", std::move(error))));
  Json token = Json::object().set("type", "apiKey").set("in", "header").set("name", "X-Inferos-Token");
  return Json::object()
      .set("responses", Json::object().set("Error", std::move(reply)))
      .set("securitySchemes", Json::object().set("token", std::move(token)));
}

}  // namespace

Json openapi_document() {
  Json paths = Json::object();
  for (const ControlRoute& route : kRoutes) {
    if (paths.find(route.path)) continue;
    Json path = Json::object();
    for (const ControlRoute& same : kRoutes) {
      if (std::string_view(same.path) != route.path) continue;
      path.set(std::string_view(same.method) == "GET" ? "get" : "post", operation_json(same));
    }
    paths.set(route.path, std::move(path));
  }
  return Json::object()
      .set("openapi", "3.1.0")
      .set("info", Json::object().set("title", "Infer-OS control API").set("version", "1"))
      .set("paths", std::move(paths))
      .set("components", components_json());
}

http::Response render_refusal(const http::Refusal& refusal, std::string_view path) {
  const auto is_ours = [path](const ControlRoute& route) { return route.path == path; };
  if (std::none_of(kRoutes.begin(), kRoutes.end(), is_ours)) return openai_refusal(refusal, path);
  return error_response(refusal.status, "The request was refused", refusal.message);
}

void add_control_routes(http::RouteTable& routes, ControlService& service) {
  for (const ControlRoute& route : kRoutes) {
    routes.add(route.method, route.path, route.access,
               [&service, handler = route.handler](const Request& request, const ResponseSink& sink) {
                 handler(service, request, sink);
               });
  }
}

}  // namespace infer::api
