// How routes of the control API read what they are asked and answer it.
// Thread safety: pure functions, but for answer(), which hands work to the agent's thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "api/control_service.h"
#include "api/json.h"
#include "base/result.h"
#include "http/message.h"
#include "http/response_sink.h"

namespace infer::api {

inline constexpr size_t kBodyBytesMax = 64 << 10;

http::Response json_response(int status, const Json& json);
http::Response error_response(int status, std::string_view message, std::string_view details);

// Does `work` on the agent's thread and answers with what it returns.
template <class Work>
void answer(ControlService& service, const http::ResponseSink& sink, Work work) {
  const bool taken = service.post([sink, work = std::move(work)](control::Agent& agent) { sink.reply(work(agent)); });
  if (!taken) sink.reply(error_response(503, "The agent is busy", "too many control requests wait; try again"));
}

// The body as a JSON object; nothing for an empty one.
Result<std::optional<Json>> read_body(const http::Request& request);
// True when it is refused, and answered.
bool refuse_large(const http::Request& request, const http::ResponseSink& sink);
// Of the query: a whole number within the range; `fallback` where it has none.
Result<int64_t> query_number(const http::Request& request, const char* name, int64_t fallback, int64_t least,
                             int64_t most);
// Of a body: "seq_len must be a whole number between 1 and 16777216".
Result<double> body_number(std::string_view key, const Json& value, double least, double most, bool whole);

// {"type": "object"}, of a schema.
Json any_object();

}  // namespace infer::api
