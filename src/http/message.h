// What travels over a connection: header fields, a request, a response.
//
// Invariants: a field's name is a token and its value has no control byte, whoever set it, so nothing that is written
// from a Headers can end a line early. Names are compared without regard to case.
// Thread safety: plain values.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"

namespace infer::http {

class Headers {
 public:
  struct Field {
    std::string name;
    std::string value;
  };

  // Appends. Control bytes of the value become spaces; a name that is no token is a bug of the caller.
  void add(std::string_view name, std::string_view value);
  // Replaces all fields of that name.
  void set(std::string_view name, std::string_view value);
  void remove(std::string_view name);

  // The first value of that name.
  std::optional<std::string_view> find(std::string_view name) const;
  size_t count(std::string_view name) const;
  const std::vector<Field>& fields() const { return fields_; }

 private:
  std::vector<Field> fields_;
};

// A named part of a request: a parameter of the route's pattern, decoded.
struct Parameter {
  std::string name;
  std::string value;
};

struct Request {
  std::string method;  // "GET"; case matters.
  std::string target;  // As sent, visible ASCII only: fit for a log line.
  std::string path;    // "/v1/models", as sent, without the query.
  std::string query;   // "limit=5&since=3", as sent, without the question mark.
  Headers headers;
  std::string body;                   // Whole and decoded.
  std::string peer;                   // "127.0.0.1:50412"
  std::vector<Parameter> parameters;  // Of the route's pattern.
  Instant arrived;                    // Of the first byte: where a request's own deadline starts.

  // Of the route's pattern; a name that the pattern does not have is a bug of the caller.
  const std::string& parameter(std::string_view name) const;
  // The first value of that name in the query, decoded ('+' is a space); "" for a name without a value.
  // nullopt: not there, or not decodable.
  std::optional<std::string> query_value(std::string_view name) const;
};

struct Response {
  int status = 200;
  Headers headers;  // Content-Length, Transfer-Encoding, Connection and Date are the server's; they are left out here.
  std::string body;
};

// A response with a Content-Type.
Response make_response(int status, std::string_view content_type, std::string body);

// Why a request is not served, before it becomes a Response.
struct Refusal {
  int status = 400;
  std::string message;
};

// "Not Found" for 404; "Status 299" for one without a name.
std::string status_reason(int status);

}  // namespace infer::http
