#include "api/experiment_routes.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "api/control_answer.h"
#include "api/evaluation_json.h"
#include "api/experiment_json.h"
#include "api/metrics_json.h"
#include "api/settings_json.h"
#include "base/format.h"
#include "base/quoted_text.h"
#include "control/preset.h"

namespace infer::api {

namespace {

using control::Agent;

// What an order that may not be obeyed now is answered with.
http::Response refused(std::string_view message, const Error& error) {
  const int status = error.code == ErrorCode::kInvalidArgument ? 400 : error.code == ErrorCode::kBusy ? 409 : 503;
  return error_response(status, message, error.message);
}

http::Response started(uint64_t number) {
  return json_response(202, Json::object().set("status", "started").set("id", number));
}

http::Response cancelled(bool one_ran) {
  return json_response(200, Json::object().set("status", one_ran ? "cancelled" : "none runs"));
}

struct EvaluationRequest {
  control::EvaluationKind kind = control::EvaluationKind::kLight;
  std::optional<int> windows;
  bool cancels = false;
};

Result<EvaluationRequest> read_evaluation(const Json& body) {
  EvaluationRequest wished;
  for (const auto& [key, value] : body.members()) {
    if (key == "kind" && value.as_string() && (*value.as_string() == "full" || *value.as_string() == "light")) {
      wished.kind = *value.as_string() == "full" ? control::EvaluationKind::kFull : control::EvaluationKind::kLight;
    } else if (key == "windows") {
      INFER_ASSIGN(const double windows, body_number(key, value, 1, 100'000, true));
      wished.windows = static_cast<int>(windows);
    } else if (key == "cancel" && value.as_bool()) {
      wished.cancels = *value.as_bool();
    } else {
      return Error{ErrorCode::kInvalidArgument,
                   format("{}: there are kind (full or light), windows (a number) and cancel (true)", quoted(key))};
    }
  }
  return wished;
}

}  // namespace

// ---- Evaluations.

void post_evaluate(ControlService& service, const http::Request& request, const http::ResponseSink& sink) {
  if (refuse_large(request, sink)) return;
  const auto body = read_body(request);
  const auto wished = body ? read_evaluation(body->value_or(Json::object())) : body.error();
  if (!wished) {
    sink.reply(error_response(400, "Invalid evaluation request", wished.error().message));
    return;
  }
  answer(service, sink, [wished = *wished](Agent& agent) {
    if (wished.cancels) {
      const bool cancelled = agent.cancel_evaluation();
      return json_response(200, Json::object().set("status", cancelled ? "cancelling" : "none runs"));
    }
    const auto number = agent.evaluate(wished.kind, wished.windows);
    return number ? started(*number) : refused("No evaluation was started", number.error());
  });
}

void get_evaluate(ControlService& service, const http::Request& request, const http::ResponseSink& sink) {
  const auto limit = query_number(request, "limit", 100, 1, 10'000);
  if (!limit) {
    sink.reply(error_response(400, "Invalid query", limit.error().message));
    return;
  }
  const int most = static_cast<int>(*limit);
  const bool taken = service.post([&service, sink, most](Agent& agent) {
    const Json now = evaluations_json(agent.evaluations());
    const auto reply = [sink, now](const std::vector<telemetry::EvaluationRecord>& records) {
      Json results = Json::array();
      for (const telemetry::EvaluationRecord& record : records) results.push(evaluation_json(record));
      sink.reply(json_response(200, Json(now).set("results", std::move(results))));
    };
    const bool asked = service.ask_evaluations(most, [sink, reply](auto records) {
      if (records) {
        reply(*records);
      } else {
        sink.reply(error_response(503, "The history cannot be read", records.error().message));
      }
    });
    if (!asked) reply({});
  });
  if (!taken) sink.reply(error_response(503, "The agent is busy", "too many control requests wait; try again"));
}

Json evaluation_schema() {
  return any_object()
      .set("properties",
           Json::object()
               .set("kind", Json::object()
                                .set("type", "string")
                                .set("enum", Json::array().push("light").push("full"))
                                .set("default", "light"))
               .set("windows", Json::object().set("type", "integer").set("minimum", 1).set("maximum", 100'000))
               .set("cancel", Json::object().set("type", "boolean")))
      .set("additionalProperties", false);
}

// ---- Tuning.

namespace {

struct TuneRequest {
  control::TuningWish wish;
  bool cancels = false, undoes = false;
};

Status read_tune_number(const std::string& key, const Json& value, control::TuningWish& wish) {
  if (key == "max_delta_ppl") {
    INFER_ASSIGN(wish.goal.max_delta_ppl, body_number(key, value, 0, 2, false));
  } else if (key == "least_tokens_per_second") {
    INFER_ASSIGN(wish.goal.least_tokens_per_second, body_number(key, value, 0, 1e6, false));
  } else if (key == "most_first_token_ms") {
    INFER_ASSIGN(wish.goal.most_first_token_ms, body_number(key, value, 0, 86'400'000, false));
  } else if (key == "parallel") {
    INFER_ASSIGN(const double number, body_number(key, value, 1, 256, true));
    wish.sequences = static_cast<int>(number);
  } else if (key == "trials") {
    INFER_ASSIGN(const double number, body_number(key, value, 8, 10'000, true));
    wish.trials_max = static_cast<int>(number);
  } else if (key == "seconds") {
    INFER_ASSIGN(const double number, body_number(key, value, 1, 86'400, false));
    wish.time = Duration::from_seconds(number);
  } else {
    return Error{ErrorCode::kInvalidArgument,
                 format("{}: there are use (chat, batch, quality), max_delta_ppl, least_tokens_per_second, "
                        "most_first_token_ms, parallel, trials, seconds, apply, cancel and undo",
                        quoted(key))};
  }
  return {};
}

Result<TuneRequest> read_tune(const Json& body) {
  TuneRequest wished;
  const auto& rows = control::presets();
  for (const auto& [key, value] : body.members()) {
    if (key == "use") {
      const auto name = value.as_string();
      const auto row = std::find_if(rows.begin(), rows.end(), [&](const auto& each) {
        return name && each.name == *name && each.max_delta_ppl.has_value();
      });
      if (row == rows.end()) {
        return Error{ErrorCode::kInvalidArgument, "use must be one of chat, batch, quality"};
      }
      if (!body.find("max_delta_ppl")) wished.wish.goal.max_delta_ppl = *row->max_delta_ppl;
    } else if (key == "apply" && value.as_bool()) {
      wished.wish.applies = *value.as_bool();
    } else if (key == "cancel" && value.as_bool()) {
      wished.cancels = *value.as_bool();
    } else if (key == "undo" && value.as_bool()) {
      wished.undoes = *value.as_bool();
    } else {
      INFER_TRY(read_tune_number(key, value, wished.wish));
    }
  }
  return wished;
}

http::Response undo_tuning(Agent& agent) {
  const auto undone = agent.undo_tuning();
  if (!undone) return error_response(503, "The policy could not be applied", undone.error().message);
  if (!*undone) {
    return error_response(409, "Nothing to undo",
                          "no choice of a tuning is in effect, or another policy was chosen since");
  }
  return json_response(200, Json::object().set("status", "undone").set("policy", policy_json(agent.config().policy)));
}

}  // namespace

void post_tune(ControlService& service, const http::Request& request, const http::ResponseSink& sink) {
  if (refuse_large(request, sink)) return;
  const auto body = read_body(request);
  const auto wished = body ? read_tune(body->value_or(Json::object())) : body.error();
  if (!wished) {
    sink.reply(error_response(400, "Invalid tuning request", wished.error().message));
    return;
  }
  answer(service, sink, [&service, wished = *wished](Agent& agent) {
    if (wished.cancels) return cancelled(agent.cancel_tuning());
    if (wished.undoes) return undo_tuning(agent);
    const auto number = agent.tune(wished.wish, service.now());
    if (!number) return refused("No tuning was started", number.error());
    return json_response(
        202, Json::object().set("status", "started").set("id", *number).set("not_searched", not_searched_json()));
  });
}

void get_tune(ControlService& service, const http::Request&, const http::ResponseSink& sink) {
  answer(service, sink, [](Agent& agent) {
    return json_response(200, tuning_json(agent.tuning()).set("can_undo", agent.can_undo_tuning()));
  });
}

Json tune_schema() {
  const auto number = [](const char* type, double least, double most) {
    return Json::object().set("type", type).set("minimum", least).set("maximum", most);
  };
  const auto flag = [] { return Json::object().set("type", "boolean"); };
  return any_object()
      .set("properties", Json::object()
                             .set("use", Json::object()
                                             .set("type", "string")
                                             .set("enum", Json::array().push("chat").push("batch").push("quality")))
                             .set("max_delta_ppl", number("number", 0, 2))
                             .set("least_tokens_per_second", number("number", 0, 1e6))
                             .set("most_first_token_ms", number("number", 0, 86'400'000))
                             .set("parallel", number("integer", 1, 256))
                             .set("trials", number("integer", 8, 10'000))
                             .set("seconds", number("number", 1, 86'400))
                             .set("apply", flag())
                             .set("cancel", flag())
                             .set("undo", flag()))
      .set("additionalProperties", false);
}

// ---- Comparisons.

namespace {

struct AbRequest {
  std::vector<control::DocumentEntry> a, b;
  int answers = 200;
  Duration time = Duration::from_seconds(3600);
  bool cancels = false;
};

Result<AbRequest> read_ab(const Json& body) {
  AbRequest wished;
  for (const auto& [key, value] : body.members()) {
    if ((key == "a" || key == "b") && value.is_object()) {
      INFER_ASSIGN((key == "a" ? wished.a : wished.b), document_entries(value));
    } else if (key == "answers") {
      INFER_ASSIGN(const double number, body_number(key, value, 8, 1000, true));
      wished.answers = static_cast<int>(number);
    } else if (key == "seconds") {
      INFER_ASSIGN(const double number, body_number(key, value, 1, 604'800, false));
      wished.time = Duration::from_seconds(number);
    } else if (key == "cancel" && value.as_bool()) {
      wished.cancels = *value.as_bool();
    } else {
      return Error{ErrorCode::kInvalidArgument,
                   format("{}: there are a and b (policies), answers, seconds and cancel", quoted(key))};
    }
  }
  if (!wished.cancels && !body.find("b")) {
    return Error{ErrorCode::kInvalidArgument, "b must be a policy, which the present one (or a) is compared with"};
  }
  return wished;
}

// The policy that a document makes of the present one.
Result<control::Policy> policy_of(const std::vector<control::DocumentEntry>& entries, const control::Config& now) {
  control::Config config = now;
  INFER_TRY(control::apply_document(entries, control::SettingScope::kPolicy, config));
  return config.policy;
}

http::Response start_comparison(const AbRequest& wished, Agent& agent, Instant now) {
  const auto a = policy_of(wished.a, agent.config()), b = policy_of(wished.b, agent.config());
  if (!a || !b) return error_response(400, "Invalid policy configuration", (a ? b : a).error().message);
  const auto number = agent.compare({.a = *a, .b = *b, .answers = wished.answers, .time = wished.time}, now);
  return number ? started(*number) : refused("No comparison was started", number.error());
}

}  // namespace

void post_ab(ControlService& service, const http::Request& request, const http::ResponseSink& sink) {
  if (refuse_large(request, sink)) return;
  const auto body = read_body(request);
  const auto wished = body ? read_ab(body->value_or(Json::object())) : body.error();
  if (!wished) {
    sink.reply(error_response(400, "Invalid comparison request", wished.error().message));
    return;
  }
  answer(service, sink, [&service, wished = *wished](Agent& agent) {
    if (wished.cancels) return cancelled(agent.cancel_comparison());
    return start_comparison(wished, agent, service.now());
  });
}

void get_ab(ControlService& service, const http::Request&, const http::ResponseSink& sink) {
  answer(service, sink, [](Agent& agent) { return json_response(200, comparison_json(agent.comparison())); });
}

Json ab_schema() {
  const auto number = [](const char* type, double least, double most) {
    return Json::object().set("type", type).set("minimum", least).set("maximum", most);
  };
  return any_object()
      .set("properties", Json::object()
                             .set("a", settings_schema(control::SettingScope::kPolicy))
                             .set("b", settings_schema(control::SettingScope::kPolicy))
                             .set("answers", number("integer", 8, 1000))
                             .set("seconds", number("number", 1, 604'800))
                             .set("cancel", Json::object().set("type", "boolean")))
      .set("additionalProperties", false);
}

}  // namespace infer::api
