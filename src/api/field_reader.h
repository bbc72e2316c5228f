// Reads the fields of a JSON object that a client sent, each with its kind and range. What is absent or null is not
// there; what nobody asks for is ignored; the first that is wrong is kept as an ApiError in OpenAI's words, and the
// caller looks once at the end.
// Ownership: borrows the object and the error. Thread safety: one thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "api/api_error.h"
#include "api/json.h"

namespace infer::api {

class FieldReader {
 public:
  // `path`: what stands before the names of fields in messages, as "messages[0]."
  FieldReader(const Json& object, std::string path, std::optional<ApiError>& error);
  FieldReader(const Json& object, std::optional<ApiError>& error) : FieldReader(object, "", error) {}

  std::optional<bool> boolean(std::string_view name);
  std::optional<int64_t> integer(std::string_view name, int64_t least, int64_t most);
  std::optional<double> number(std::string_view name, double least, double most);
  // Valid as long as the object.
  std::optional<std::string_view> text(std::string_view name);
  const Json* object(std::string_view name);
  const Json* array(std::string_view name);
  // Of any kind but null.
  const Json* any(std::string_view name);
  // The fields of a member that is an object.
  FieldReader inside(std::string_view name, const Json& object) { return {object, path_of(name) + ".", error_}; }

  void fail(std::string_view name, std::string message, std::string code = "invalid_value");
  void fail(ApiError error);
  void fail_missing(std::string_view name);
  void fail_kind(std::string_view name, std::string_view expected, const Json& found);
  bool failed() const { return error_.has_value(); }
  std::string path_of(std::string_view name) const { return path_ + std::string(name); }

 private:
  const Json& object_;
  const std::string path_;
  std::optional<ApiError>& error_;
};

}  // namespace infer::api
