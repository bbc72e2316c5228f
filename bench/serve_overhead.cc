// What the server adds to the engine's own time, while eight clients stream answers from it over loopback: from the end
// of a step to a client's hands, and from a client's request to the engine and its first token back.
//
// One process: server, engine and clients share the machine, and its clock. Every token but the first of an answer
// comes from the step behind that of the token before it, and a token cannot arrive before its step has ended; so the
// latest row of steps that this allows is the one that made an answer.
//
//   serve_overhead [--smoke] [MODEL.gguf]      figures as lines of text; the built-in model where none is named
#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "api/json.h"
#include "base/format.h"
#include "http/client.h"
#include "http/event_stream.h"
#include "os/service_thread.h"
#include "os/topology.h"
#include "testing/api_server.h"
#include "testing/hooked_runner.h"

namespace infer {
namespace {

constexpr int kClients = 8;

struct Sizes {
  int rounds = 12;
  int tokens = 200;
};

// One streamed answer as a client sees it.
struct Seen {
  Instant sent;
  std::vector<Instant> tokens;
  double first_token_ms = 0;  // Of the engine: from its submission to the choice of the first token.
};

Seen stream_answer(http::Client& client, const testing::ApiServer& server, int tokens, int number) {
  const std::string body = api::Json::object()
                               .set("prompt", format("{} Once upon a time there was a king who", number))
                               .set("max_tokens", tokens)
                               .set("ignore_eos", true)
                               .set("temperature", 0)
                               .set("stream", true)
                               .dump();
  Seen seen;
  http::EventStreamParser parser(1 << 20);
  const auto on_body = [&](std::string_view bytes) {
    const Instant now = server.clock().now();
    auto events = parser.parse(bytes);
    if (!events) return false;
    for (const http::ServerSentEvent& event : *events) {
      const auto json = api::Json::parse(event.data);
      if (!json) continue;  // [DONE]
      const api::Json& choice = testing::at(*json, "choices", 0);
      if (testing::at(choice, "finish_reason").is_null()) seen.tokens.push_back(now);
      const api::Json& first = testing::at(*json, "infer_os", "time_to_first_token_ms");
      if (!first.is_null()) seen.first_token_ms = first.as_double().value_or(0);
    }
    return true;
  };
  seen.sent = server.clock().now();
  (void)client.stream({.method = "POST", .url = server.url() + "/v1/completions", .headers = {}, .body = body},
                      [](const http::Response&) { return true; }, on_body, {server.clock(), Deadline::never(), {}});
  return seen;
}

// Milliseconds from the end of each token's step to its arrival.
void add_delays(const Seen& seen, const std::vector<Instant>& steps, std::vector<double>& delays_ms) {
  const auto end_of = [&](size_t first, size_t token) { return steps[first + token]; };
  size_t first = 0;
  for (size_t at = 0; at + seen.tokens.size() <= steps.size(); ++at) {
    bool fits = true;
    for (size_t i = 0; fits && i < seen.tokens.size(); ++i) fits = end_of(at, i) <= seen.tokens[i];
    if (!fits) break;  // Nor does any later row.
    first = at;
  }
  for (size_t i = 0; i < seen.tokens.size(); ++i) delays_ms.push_back((seen.tokens[i] - end_of(first, i)).ms());
}

void print(const char* what, std::vector<double> ms) {
  std::sort(ms.begin(), ms.end());
  const auto at = [&ms](double share) { return ms[static_cast<size_t>(share * static_cast<double>(ms.size() - 1))]; };
  std::printf("%-52s p50 %6.3f ms, p99 %6.3f ms, most %6.3f ms (%zu)\n", what, at(0.5), at(0.99), at(1), ms.size());
}

bool run(const Sizes& sizes, const std::string& model_path) {
  std::vector<Instant> steps;
  const os::SystemClock clock;
  engine::EngineLimits limits;
  limits.running_max = kClients;
  limits.speculation.enabled = false;  // One token a step.
  testing::ApiServerOptions options{
      .context = 1024, .limits = limits, .model_path = model_path, .threads = os::read_topology().compute_threads()};
  options.make_runner = [&](model::Model& model) {
    auto runner = std::make_unique<testing::HookedRunner>(model);
    runner->after_step = [&](const model::StepBatch&) { steps.push_back(clock.now()); };
    return runner;
  };
  std::vector<double> out_ms, first_ms, step_ms;
  {
    const testing::ApiServer server(options);
    for (int round = 0; round <= sizes.rounds; ++round) {
      const size_t begin = steps.size();
      std::vector<Seen> seen(kClients);
      std::vector<std::unique_ptr<os::ServiceThread>> clients;
      for (int i = 0; i < kClients; ++i) {
        const auto work = [&, i] {
          http::Client client;
          seen[static_cast<size_t>(i)] = stream_answer(client, server, sizes.tokens, round * kClients + i);
        };
        clients.push_back(os::ServiceThread::start(work, os::ServiceThread::Turns::kShort).value());
      }
      clients.clear();
      while (server.engine().snapshot().running > 0) std::this_thread::yield();
      if (round == 0) continue;  // Warms up.
      const std::vector<Instant> own(steps.begin() + static_cast<ptrdiff_t>(begin), steps.end());
      for (const Seen& each : seen) {
        if (each.tokens.size() != static_cast<size_t>(sizes.tokens) || own.size() < each.tokens.size()) {
          std::printf("an answer had %zu tokens in %zu steps instead of %d\n", each.tokens.size(), own.size(),
                      sizes.tokens);
          return false;
        }
        add_delays(each, own, out_ms);
        first_ms.push_back((each.tokens[0] - each.sent).ms() - each.first_token_ms);
      }
      for (size_t i = 1; i < own.size(); ++i) step_ms.push_back((own[i] - own[i - 1]).ms());
    }
  }
  print("a step", step_ms);
  print("token out: end of its step to the client", out_ms);
  print("request in, and its first token out", first_ms);
  return true;
}

}  // namespace
}  // namespace infer

int main(int argc, char** argv) {
  infer::Sizes sizes;
  std::string model;
  for (int i = 1; i < argc; ++i) {
    if (std::string_view(argv[i]) == "--smoke") {
      sizes = {.rounds = 1, .tokens = 12};
    } else {
      model = argv[i];
      sizes = {.rounds = 2, .tokens = 60};  // A large one.
    }
  }
  return infer::run(sizes, model) ? 0 : 1;
}
