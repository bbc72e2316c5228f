#include "api/control_routes.h"

#include <gtest/gtest.h>

#include <atomic>
#include <fstream>
#include <iterator>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "api/settings_json.h"
#include "http/client.h"
#include "http/event_stream.h"
#include "http/server.h"
#include "os/system_clock.h"
#include "testing/property.h"
#include "testing/test_folder.h"

namespace infer::api {
namespace {

// Asked from the agent's thread, looked at by the test.
class FakeTarget final : public control::AgentTarget {
 public:
  Status apply(const control::Policy& policy) override {
    const std::lock_guard lock(mutex_);
    if (refuses) return Error{ErrorCode::kBusy, "not now"};
    applied_.push_back(policy);
    return {};
  }
  telemetry::EngineFacts facts() const override {
    telemetry::EngineFacts facts;
    facts.model = "fake";
    facts.snapshot.kv.pages = {1, 2, 3, 4};
    facts.snapshot.kv.bytes = 30;
    facts.snapshot.kv.bytes_f16 = 100;
    return facts;
  }
  std::vector<control::Policy> applied() const {
    const std::lock_guard lock(mutex_);
    return applied_;
  }
  Status compare_with(const std::optional<control::Policy>&) override {
    return compares ? Status() : Error{ErrorCode::kUnsupported, "not here"};
  }
  std::atomic<bool> refuses{false}, compares{false};

 private:
  mutable std::mutex mutex_;
  std::vector<control::Policy> applied_;
};

constexpr const char* kSecret = "a-token-of-the-test";

class ControlRoutesTest : public ::testing::Test {
 protected:
  void SetUp() override { start(control::Config{}); }

  void start(control::Config config) {
    server_.reset();
    service_.reset();
    own_.emplace();
    config.telemetry.push_interval_ms = 100;
    config.telemetry.history_file = own_->file("history.db");
    config.telemetry.log_file = own_->file("telemetry.jsonl");
    auto service = ControlService::start(config, target_, clock_, log_);
    ASSERT_TRUE(service.has_value()) << service.error().message;
    service_ = std::move(*service);
    http::Site site;
    add_control_routes(site.routes, *service_);
    http::GateOptions gate;
    gate.token = kSecret;
    site.gate = http::Gate(gate);
    site.render_refusal = render_refusal;
    auto server = http::Server::start({}, std::move(site), clock_, log_);
    ASSERT_TRUE(server.has_value()) << server.error().message;
    server_ = std::move(*server);
  }

  CallContext soon() const { return {clock_, Deadline::at(clock_.now() + Duration::from_seconds(30)), {}}; }

  http::Response ask(const std::string& method, const std::string& target, const std::string& body = "",
                     const char* token = kSecret) {
    http::ClientRequest request;
    request.method = method;
    request.url = server_->url() + target;
    request.body = body;
    if (token) request.headers.add("X-Inferos-Token", token);
    auto response = http::Client().send(request, soon());
    EXPECT_TRUE(response.has_value()) << target << ": " << response.error().message;
    return response ? std::move(*response) : http::Response{};
  }
  Json ask_json(const std::string& method, const std::string& target, const std::string& body = "", int status = 200) {
    const http::Response response = ask(method, target, body);
    EXPECT_EQ(response.status, status) << target << " " << body << ": " << response.body;
    const auto json = Json::parse(response.body);
    EXPECT_TRUE(json.has_value()) << response.body;
    return json ? *json : Json();
  }

  os::SystemClock clock_;
  NullLog log_;
  FakeTarget target_;
  std::optional<testing::TestFolder> own_;  // Another one for each start.
  std::unique_ptr<ControlService> service_;
  std::unique_ptr<http::Server> server_;
};

TEST_F(ControlRoutesTest, ThePolicyIsReadAndChangedInParts) {
  EXPECT_EQ(ask_json("GET", "/v1/policy").find("kv")->find("recent_window")->as_int(), 64);
  const Json changed = ask_json("POST", "/v1/policy", R"({"kv":{"mode":"quality_optimized","recent_window":128}})");
  EXPECT_EQ(changed.find("status")->as_string(), "applied");
  EXPECT_EQ(changed.find("policy")->find("kv")->find("mode")->as_string(), "quality_optimized");
  const Json now = ask_json("GET", "/v1/policy");
  EXPECT_EQ(now.find("kv")->find("recent_window")->as_int(), 128);
  EXPECT_EQ(now.find("quality")->find("max_delta_ppl")->as_double(), 0.5);
  EXPECT_EQ(target_.applied().back().kv.recent_window, 128);
}

TEST_F(ControlRoutesTest, AWrongPolicyIsRefusedInTheSpecifiedWords) {
  const http::Response response = ask("POST", "/v1/policy", R"({"kv":{"recent_window":1024}})");
  EXPECT_EQ(response.status, 400);
  EXPECT_EQ(response.body,
            R"({"error":{"code":400,"message":"Invalid policy configuration","details":"recent_window must be between )"
            R"(16 and 512"}})"
            "\n");
  EXPECT_EQ(ask("POST", "/v1/policy", "not json").status, 400);
  EXPECT_EQ(ask("POST", "/v1/policy", "").status, 400);
  EXPECT_EQ(ask("POST", "/v1/policy", std::string(100'000, ' ')).status, 413);
  EXPECT_EQ(target_.applied().size(), 1u);
}

TEST_F(ControlRoutesTest, WhatChangesSomethingNeedsTheToken) {
  for (const char* const path : {"/v1/policy", "/v1/baseline", "/v1/config", "/v1/run-context"}) {
    EXPECT_EQ(ask("POST", path, "{}", nullptr).status, 401) << path;
    const Json error = Json::parse(ask("POST", path, "{}", "wrong").body).value();
    EXPECT_EQ(error.find("error")->find("code")->as_int(), 401) << path;
    EXPECT_EQ(error.find("error")->find("details")->as_string(), "the token is not the right one") << path;
    EXPECT_EQ(ask("POST", path, "{}").status, 200) << path;
  }
  for (const char* const path :
       {"/v1/metrics", "/metrics", "/v1/policy", "/v1/config", "/v1/history", "/openapi.json"}) {
    EXPECT_EQ(ask("GET", path, "", nullptr).status, 200) << path;
  }
}

TEST_F(ControlRoutesTest, BaselineIsSwitchedOnAndOff) {
  EXPECT_EQ(ask_json("POST", "/v1/baseline").find("baseline")->as_bool(), true);
  EXPECT_EQ(target_.applied().back().kv.mode, kv::KvMode::kF16);
  EXPECT_EQ(ask_json("POST", "/v1/baseline", R"({"enable":false})").find("baseline")->as_bool(), false);
  EXPECT_EQ(target_.applied().back().kv.mode, kv::KvMode::kDynamic);
  EXPECT_EQ(ask_json("POST", "/v1/baseline", R"({"enable":true})").find("baseline")->as_bool(), true);
  EXPECT_EQ(ask("POST", "/v1/baseline", R"({"enable":1})").status, 400);
  EXPECT_EQ(ask("POST", "/v1/baseline", R"({"enabled":true})").status, 400);
  EXPECT_EQ(ask("POST", "/v1/baseline", "[]").status, 400);
}

TEST_F(ControlRoutesTest, ATargetThatRefusesIsSaid) {
  target_.refuses = true;
  EXPECT_EQ(ask("POST", "/v1/policy", R"({"kv":{"recent_window":99}})").status, 503);
  EXPECT_EQ(ask_json("GET", "/v1/policy").find("kv")->find("recent_window")->as_int(), 64);
}

TEST_F(ControlRoutesTest, TheConfigurationShowsAllAndSaysWhatNeedsARestart) {
  const http::Response shown = ask("GET", "/v1/config");
  const Json changed =
      ask_json("POST", "/v1/config", R"({"server":{"port":9},"kv":{"recent_window":99},"loops":{"slow_ms":50}})");
  EXPECT_EQ(changed.find("applied")->dump(), R"(["kv.recent_window","loops.slow_ms"])");
  EXPECT_EQ(changed.find("needs_restart")->dump(), R"(["server.port"])");
  EXPECT_TRUE(changed.find("without_effect")->members().empty());
  // What is shown can be sent back, and changes back.
  EXPECT_EQ(ask_json("POST", "/v1/config", shown.body).find("applied")->dump(),
            R"(["kv.recent_window","loops.slow_ms"])");
  EXPECT_EQ(ask("POST", "/v1/config", R"({"sever":{"port":9}})").status, 400);
  EXPECT_EQ(ask("POST", "/v1/config", R"({"infer_os":{},"more":1})").status, 400);
}

TEST_F(ControlRoutesTest, WhatDevicesAreMissingForIsSaid) {
  const Json policy = ask_json("POST", "/v1/policy", R"({"scheduler":{"mode":"gpu_only"},"kv":{"recent_window":99}})");
  ASSERT_EQ(policy.find("without_effect")->members().size(), 1u);
  EXPECT_EQ(policy.find("without_effect")->members()[0].first, "scheduler.mode");
  const Json config = ask_json("POST", "/v1/config", R"({"io":{"host_pool_bytes":"2GiB"}})");
  EXPECT_NE(config.find("without_effect")->find("io.host_pool_bytes"), nullptr);
}

TEST_F(ControlRoutesTest, RefusalsHaveTheShapeOfTheApiThatTheirPathBelongsTo) {
  const auto body = [](std::string_view path) {
    return Json::parse(render_refusal({.status = 401, .message = "no token"}, path).body).value();
  };
  EXPECT_EQ(body("/v1/policy").dump(),
            R"({"error":{"code":401,"message":"The request was refused","details":"no token"}})");
  EXPECT_EQ(body("/v1/chat/completions").dump(),
            R"({"error":{"message":"no token","type":"invalid_request_error","param":null,"code":"invalid_api_key"}})");
}

TEST_F(ControlRoutesTest, MetricsHaveBothFormsAndNullForWhatIsUnknown) {
  const Json metrics = ask_json("GET", "/v1/metrics");
  for (const char* const key :
       {"timestamp", "measurement_window", "throughput", "latency", "first_token_latency", "quality", "memory",
        "device_utilization", "optimization_status", "tps", "ftl_ms", "p95_ms", "mem", "util", "kv_stats"}) {
    EXPECT_NE(metrics.find(key), nullptr) << key;
  }
  EXPECT_EQ(metrics.find("measurement_window")->find("duration_seconds")->as_int(), 60);
  EXPECT_TRUE(metrics.find("latency")->find("p95_ms")->is_null());
  EXPECT_TRUE(metrics.find("device_utilization")->find("npu_utilization")->is_null());
  EXPECT_TRUE(metrics.find("quality")->find("delta_ppl_est")->find("current")->is_null());
  EXPECT_TRUE(metrics.find("quality")->find("spec_accept")->is_null());
  EXPECT_EQ(metrics.find("kv_stats")->find("total_chunks")->as_int(), 10);
  EXPECT_EQ(metrics.find("kv_stats")->find("level_distribution")->find("L3")->as_int(), 4);
  EXPECT_EQ(metrics.find("kv_stats")->find("compression_ratio")->as_double(), 0.3);
  EXPECT_EQ(metrics.find("optimization_status")->find("current_policy")->find("kv")->find("mode")->as_string(),
            "dynamic");
}

TEST_F(ControlRoutesTest, PrometheusIsServedAtBothPathsUnderAnyOfItsNames) {
  for (const char* const path : {"/metrics", "/v1/metrics/prometheus"}) {
    const http::Response page = ask("GET", path);
    EXPECT_EQ(page.status, 200);
    EXPECT_EQ(page.headers.find("Content-Type"), telemetry::kPrometheusContentType);
    EXPECT_NE(page.body.find("\ninferos_build_info{model=\"fake\"} 1\n"), std::string::npos);
  }
  EXPECT_NE(ask("GET", "/metrics?names=vllm").body.find("vllm:num_requests_running 0"), std::string::npos);
  EXPECT_NE(ask("GET", "/metrics?names=llamacpp").body.find("llamacpp:requests_processing 0"), std::string::npos);
  EXPECT_EQ(ask("GET", "/metrics?names=other").status, 400);
}

TEST_F(ControlRoutesTest, EventsTellMetricsAndChangesAsTheyCome) {
  http::EventStreamParser parser(1 << 20);
  std::vector<http::ServerSentEvent> events;
  bool asked = false;
  const http::ClientRequest request{.method = "GET", .url = server_->url() + "/v1/events", .headers = {}, .body = ""};
  const auto on_body = [&](std::string_view bytes) {
    auto parsed = parser.parse(bytes);
    if (!parsed) return false;
    for (http::ServerSentEvent& event : *parsed) events.push_back(std::move(event));
    if (!events.empty() && !asked) {
      asked = true;
      EXPECT_EQ(ask("POST", "/v1/policy", R"({"kv":{"recent_window":77}})").status, 200);
    }
    return events.empty() || events.back().type != "policy";
  };
  (void)http::Client().stream(request, [](const http::Response& head) { return head.status == 200; }, on_body, soon());
  ASSERT_GE(events.size(), 2u);
  EXPECT_EQ(events.front().type, "metrics");
  EXPECT_TRUE(Json::parse(events.front().data)->find("tps") != nullptr);
  EXPECT_EQ(events.back().type, "policy");
  EXPECT_EQ(Json::parse(events.back().data)->find("policy")->find("kv")->find("recent_window")->as_int(), 77);
}

TEST_F(ControlRoutesTest, EventStreamsEndWhenTheServerShallDrain) {
  bool drained = false;
  const http::ClientRequest request{.method = "GET", .url = server_->url() + "/v1/events", .headers = {}, .body = ""};
  const auto on_body = [&](std::string_view) {
    if (!drained) service_->end_events();
    return drained = true;
  };
  const auto ended = http::Client().stream(request, [](const http::Response&) { return true; }, on_body, soon());
  EXPECT_TRUE(ended.has_value()) << ended.error().message;
  EXPECT_TRUE(server_->drain(soon()));
}

TEST_F(ControlRoutesTest, HistoryHasTheSamplesAndSurvivesARestart) {
  Json history = Json::object();
  while (!history.find("history") || history.find("history")->elements().size() < 2) {
    history = ask_json("GET", "/v1/history");
    ASSERT_FALSE(soon().should_stop());
  }
  const Json first = history.find("history")->elements()[0];
  EXPECT_NE(first.find("timestamp"), nullptr);
  EXPECT_NE(first.find("kv_bytes"), nullptr);
  const Json one = ask_json("GET", "/v1/history?limit=1&metric=kv_bytes");
  ASSERT_EQ(one.find("history")->elements().size(), 1u);
  EXPECT_EQ(one.find("history")->elements()[0].find("kv_bytes")->as_double(), 30);
  EXPECT_EQ(one.find("history")->elements()[0].find("tps"), nullptr);
  EXPECT_TRUE(ask_json("GET", "/v1/history?since=99999999999").find("history")->elements().empty());
  EXPECT_TRUE(ask_json("GET", "/v1/history?since=9999-01-01T00:00:00Z").find("history")->elements().empty());
  const Json since =
      ask_json("GET", "/v1/history?since=" + std::string(first.find("timestamp")->as_string().value_or("")));
  EXPECT_GE(since.find("history")->elements().size(), 2u);
  for (const char* const wrong : {"limit=0", "limit=x", "limit=1000000", "since=-1", "since=2026-11-29",
                                  "metric=nothing", "limit=99999999999999999999"}) {
    EXPECT_EQ(ask("GET", std::string("/v1/history?") + wrong).status, 400) << wrong;
  }
  server_.reset();
  service_.reset();
  std::ifstream file(own_->file("telemetry.jsonl"));
  int lines = 0;
  for (std::string line; std::getline(file, line); ++lines) EXPECT_TRUE(Json::parse(line).has_value()) << line;
  EXPECT_GE(lines, 2);
  auto store = telemetry::HistoryStore::open(own_->file("history.db"), {});
  ASSERT_TRUE(store.has_value());
  EXPECT_GE(store->query({})->size(), 2u);
}

TEST_F(ControlRoutesTest, TheNextJobIsToldAndChecked) {
  const Json told =
      ask_json("POST", "/v1/run-context", R"({"seq_len":1024,"batch":4,"target_ftl_ms":300,"quality_budget":0.1})");
  EXPECT_EQ(told.find("status")->as_string(), "accepted");
  EXPECT_TRUE(told.find("expected")->find("first_token_ms")->is_null());  // Nothing was measured.
  EXPECT_EQ(told.find("policy_in_effect")->find("quality")->find("max_delta_ppl")->as_double(), 0.1);
  for (const char* const wrong :
       {R"({"seq_len":0})", R"({"seq_len":1.5})", R"({"batch":"4"})", R"({"quality_budget":3})",
        R"({"target_ftl_ms":null})", R"({"length":3})", "[1]", "{"}) {
    EXPECT_EQ(ask("POST", "/v1/run-context", wrong).status, 400) << wrong;
  }
}

TEST_F(ControlRoutesTest, TheDescriptionHasEveryRouteAndWhatTheyTake) {
  const Json document = ask_json("GET", "/openapi.json");
  EXPECT_EQ(document.find("openapi")->as_string(), "3.1.0");
  const Json* const paths = document.find("paths");
  for (const char* const path :
       {"/v1/metrics", "/v1/metrics/prometheus", "/metrics", "/v1/policy", "/v1/baseline", "/v1/config", "/v1/history",
        "/v1/run-context", "/v1/evaluate", "/v1/tune", "/v1/ab", "/v1/events", "/openapi.json"}) {
    EXPECT_NE(paths->find(path), nullptr) << path;
  }
  const Json* const post = paths->find("/v1/policy")->find("post");
  EXPECT_NE(post->find("security"), nullptr);
  EXPECT_EQ(post->find("requestBody")->find("content")->find("application/json")->find("schema")->dump(),
            settings_schema(control::SettingScope::kPolicy).dump());
}

TEST_F(ControlRoutesTest, EvaluationsNeedSomethingThatMeasuresAndSaySo) {
  EXPECT_EQ(ask("POST", "/v1/evaluate", "{}", nullptr).status, 401);
  EXPECT_EQ(ask("GET", "/v1/evaluate", "", nullptr).status, 401);
  const Json refused = ask_json("POST", "/v1/evaluate", R"({"kind":"full"})", 503);
  EXPECT_NE(refused.find("error")->find("details")->as_string()->find("quality.dataset"), std::string::npos);
  const Json told = ask_json("GET", "/v1/evaluate");
  EXPECT_TRUE(told.find("current")->is_null());
  EXPECT_TRUE(told.find("results")->elements().empty());
  EXPECT_EQ(ask_json("POST", "/v1/evaluate", R"({"cancel":true})").find("status")->as_string(), "none runs");
  for (const char* const wrong :
       {R"({"kind":"deep"})", R"({"windows":0})", R"({"windows":1.5})", R"({"all":1})", "[]"}) {
    EXPECT_EQ(ask("POST", "/v1/evaluate", wrong).status, 400) << wrong;
  }
  EXPECT_EQ(ask("GET", "/v1/evaluate?limit=0").status, 400);
}

TEST_F(ControlRoutesTest, TuningNeedsSomethingThatMeasuresAndSaysSo) {
  EXPECT_EQ(ask("POST", "/v1/tune", "{}", nullptr).status, 401);
  EXPECT_EQ(ask("GET", "/v1/tune", "", nullptr).status, 401);
  (void)ask_json("POST", "/v1/tune", R"({"use":"chat","seconds":60,"apply":true})", 503);
  EXPECT_EQ(ask_json("GET", "/v1/tune").find("status")->as_string(), "none");
  EXPECT_EQ(ask_json("POST", "/v1/tune", R"({"cancel":true})").find("status")->as_string(), "none runs");
  (void)ask_json("POST", "/v1/tune", R"({"undo":true})", 409);
  for (const char* const wrong : {R"({"use":"speed"})", R"({"trials":1})", R"({"seconds":0})", R"({"what":1})"}) {
    EXPECT_EQ(ask("POST", "/v1/tune", wrong).status, 400) << wrong;
  }
}

TEST_F(ControlRoutesTest, TwoPoliciesAreComparedUntilSomebodyEndsIt) {
  EXPECT_EQ(ask("POST", "/v1/ab", "{}", nullptr).status, 401);
  for (const char* const wrong : {"{}", R"({"b":1})", R"({"b":{},"answers":1})", R"({"b":{"kv":{"mode":"fast"}}})"}) {
    EXPECT_EQ(ask("POST", "/v1/ab", wrong).status, 400) << wrong;
  }
  const std::string body = R"({"a":{"kv":{"mode":"disabled"}},"b":{"kv":{"mode":"q4"}}})";
  (void)ask_json("POST", "/v1/ab", body, 503);                        // This target has no way to.
  EXPECT_EQ(target_.applied().back().kv.mode, kv::KvMode::kDynamic);  // And goes on as before.
  target_.compares = true;
  (void)ask_json("POST", "/v1/ab", body, 202);
  (void)ask_json("POST", "/v1/ab", body, 409);
  EXPECT_EQ(target_.applied().back().kv.mode, kv::KvMode::kF16);
  const Json told = ask_json("GET", "/v1/ab");
  EXPECT_EQ(told.find("status")->as_string(), "running");
  EXPECT_EQ(told.find("b")->find("policy")->find("kv")->find("mode")->as_string(), "q4");
  EXPECT_EQ(ask_json("POST", "/v1/ab", R"({"cancel":true})").find("status")->as_string(), "cancelled");
  EXPECT_EQ(target_.applied().back().kv.mode, kv::KvMode::kDynamic);
  (void)ask_json("POST", "/v1/ab", body, 202);
  (void)ask_json("POST", "/v1/policy", R"({"kv":{"mode":"q8"}})");
  EXPECT_EQ(ask_json("GET", "/v1/ab").find("status")->as_string(), "disturbed");
  EXPECT_EQ(target_.applied().back().kv.mode, kv::KvMode::kQ8);
}

TEST_F(ControlRoutesTest, PrometheusTellsOfFallbacksAndLoops) {
  const std::string text = ask("GET", "/metrics").body;
  for (const char* const line :
       {"inferos_fallbacks_total{reason=\"memory_pressure\"} ", "inferos_steps_back{event=\"engine_stalled\"} 0",
        "inferos_loop_runs_total{loop=\"slow\"} ", "inferos_loop_overruns_total{loop=\"fast\"} "}) {
    EXPECT_NE(text.find(line), std::string::npos) << line;
  }
}

TEST_F(ControlRoutesTest, AnyBodyIsAnsweredWithoutAServerError) {
  const std::vector<std::string> paths{"/v1/policy",   "/v1/baseline", "/v1/config", "/v1/run-context",
                                       "/v1/evaluate", "/v1/tune",     "/v1/ab"};
  const std::string right = settings_json({}, control::SettingScope::kConfig).dump();
  testing::for_each_case(200, [&](Rng& rng) {
    std::string body = rng.below(3) == 0 ? std::string(rng.below(50), ' ') : right.substr(0, rng.below(600));
    for (char& c : body) {
      if (rng.below(10) == 0) c = static_cast<char>(rng.below(256));
    }
    const http::Response response = ask("POST", paths[rng.below(5)], body);
    EXPECT_TRUE(response.status < 500 || response.status == 503) << body;
    EXPECT_TRUE(Json::parse(response.body).has_value()) << response.body;
  });
}

}  // namespace
}  // namespace infer::api
