#include "api/control_answer.h"

#include <charconv>
#include <cmath>

#include "base/format.h"
#include "base/quoted_text.h"

namespace infer::api {

namespace {

using http::Request;
using http::ResponseSink;

constexpr std::string_view kJsonType = "application/json";

}  // namespace

http::Response json_response(int status, const Json& json) {
  http::Response response = http::make_response(status, kJsonType, json.dump() + "\n");
  response.headers.set("Cache-Control", "no-store");
  return response;
}

http::Response error_response(int status, std::string_view message, std::string_view details) {
  Json error = Json::object();
  error.set("code", status).set("message", message).set("details", details);
  http::Response response = json_response(status, Json::object().set("error", std::move(error)));
  if (status == 503) response.headers.set("Retry-After", "1");
  return response;
}

Result<std::optional<Json>> read_body(const Request& request) {
  if (request.body.find_first_not_of(" \t\r\n") == std::string::npos) return std::optional<Json>();
  INFER_ASSIGN(Json body, Json::parse(request.body));
  if (!body.is_object()) return Error{ErrorCode::kInvalidArgument, "the body must be a JSON object"};
  return std::optional(std::move(body));
}

bool refuse_large(const Request& request, const ResponseSink& sink) {
  if (request.body.size() <= kBodyBytesMax) return false;
  sink.reply(error_response(413, "Body too large",
                            format("{} bytes, at most {} are taken", request.body.size(), kBodyBytesMax)));
  return true;
}

Result<int64_t> query_number(const Request& request, const char* name, int64_t fallback, int64_t least, int64_t most) {
  const auto text = request.query_value(name);
  if (!text) return fallback;
  int64_t number = 0;
  const auto end = std::from_chars(text->data(), text->data() + text->size(), number);
  if (end.ec != std::errc() || end.ptr != text->data() + text->size() || number < least || number > most) {
    return Error{ErrorCode::kInvalidArgument,
                 format("{} must be a whole number between {} and {}, not {}", name, least, most, quoted(*text))};
  }
  return number;
}

Result<double> body_number(std::string_view key, const Json& value, double least, double most, bool whole) {
  const auto number = value.as_double();
  if (!number || (whole && *number != std::floor(*number)) || *number < least || *number > most) {
    return Error{ErrorCode::kInvalidArgument,
                 format("{} must be a {} between {} and {}", key, whole ? "whole number" : "number", least, most)};
  }
  return *number;
}

Json any_object() { return Json::object().set("type", "object"); }

}  // namespace infer::api
