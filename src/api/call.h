// A request to the API on its way to the engine and back: what is known of it, and what it becomes.
//
// Three threads have it one after the other: the server's makes it, a preparer turns its body into engine requests
// (before `prepared` is set), the deliverer writes its reply (after). Only `cancel`, `deadline_ns` and `prepared` are
// touched by two at a time.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "api/answer_writer.h"
#include "api/api_error.h"
#include "api/json.h"
#include "api/served_model.h"
#include "base/call_context.h"
#include "base/time.h"
#include "engine/answer_stream.h"
#include "engine/request.h"
#include "http/message.h"
#include "http/response_sink.h"

namespace infer::api {

// What prepares a reply is given, besides the body.
struct CallInput {
  const ServedModel& model;
  const std::string& id;  // Of the request; replies carry it.
  int64_t created = 0;    // Seconds since 1970.
  Instant arrived;
  uint64_t seed = 0;  // For requests that name none.
  CallContext call;   // Until when it is to be answered.
};

struct PreparedAnswer {
  std::vector<engine::Request> requests{};  // At least one; limits and wake-up are not theirs to set.
  std::unique_ptr<AnswerWriter> writer{};
  bool is_stream = false;
};
using Preparation = std::variant<PreparedAnswer, ApiError>;
// Reads the body of a request to one route. On a preparer's thread, several at a time.
using PrepareAnswer = std::function<Preparation(const Json& body, const CallInput& input)>;

struct Choice {
  engine::RequestHandle handle;
  bool ended = false;
  std::string said{};  // Where contents are logged.
};

struct Call {
  Call(http::Request a_request, http::ResponseSink a_sink) : request(std::move(a_request)), sink(std::move(a_sink)) {}

  http::Request request;
  const http::ResponseSink sink;
  PrepareAnswer prepare;
  std::string id;
  int64_t created = 0;
  uint64_t seed = 0;
  const ContentLog* log_content = nullptr;  // Null where contents are not logged.
  telemetry::Recorder* recorder = nullptr;  // Told of each choice that ended; may be null.

  CancelSource cancel;
  std::atomic<int64_t> deadline_ns{0};
  std::atomic<bool> prepared{false};

  // The preparer's work.
  std::unique_ptr<AnswerWriter> writer;  // Null when there is an error.
  std::optional<ApiError> error;
  std::vector<Choice> choices;
  bool is_stream = false;

  // The deliverer's.
  bool has_begun = false;
  bool cancel_passed_on = false;
  std::string unsent;  // Bytes of a stream that found no room yet.

  Deadline deadline() const { return Deadline::at(Instant::from_ns(deadline_ns.load(std::memory_order_relaxed))); }
};

}  // namespace infer::api
