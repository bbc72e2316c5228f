#include "api/field_reader.h"

#include <cmath>
#include <utility>

#include "base/format.h"

namespace infer::api {

namespace {

std::string_view kind_of(const Json& value) {
  if (value.is_null()) return "null";
  if (value.is_array()) return "an array";
  if (value.is_object()) return "an object";
  if (value.as_bool()) return "a boolean";
  if (value.as_string()) return "a string";
  return value.is_float() ? "a decimal number" : "an integer";
}

}  // namespace

FieldReader::FieldReader(const Json& object, std::string path, std::optional<ApiError>& error)
    : object_(object), path_(std::move(path)), error_(error) {}

const Json* FieldReader::any(std::string_view name) {
  const Json* value = object_.find(name);
  return value == nullptr || value->is_null() ? nullptr : value;
}

std::optional<bool> FieldReader::boolean(std::string_view name) {
  const Json* value = any(name);
  if (value == nullptr) return std::nullopt;
  if (!value->as_bool()) fail_kind(name, "a boolean", *value);
  return value->as_bool();
}

std::optional<int64_t> FieldReader::integer(std::string_view name, int64_t least, int64_t most) {
  const Json* value = any(name);
  if (value == nullptr) return std::nullopt;
  const std::optional<int64_t> given = value->as_int();
  if (!given) {
    fail_kind(name, "an integer", *value);
    return std::nullopt;
  }
  if (*given >= least && *given <= most) return given;
  fail(name, format("Invalid '{}': expected an integer from {} to {}, but got {} instead.", path_of(name), least, most,
                    *given));
  return std::nullopt;
}

std::optional<double> FieldReader::number(std::string_view name, double least, double most) {
  const Json* value = any(name);
  if (value == nullptr) return std::nullopt;
  const std::optional<double> given = value->as_double();
  if (!given || !std::isfinite(*given)) {
    fail_kind(name, "a number", *value);
    return std::nullopt;
  }
  if (*given >= least && *given <= most) return given;
  fail(name, format("Invalid '{}': expected a number from {} to {}, but got {} instead.", path_of(name), least, most,
                    *given));
  return std::nullopt;
}

std::optional<std::string_view> FieldReader::text(std::string_view name) {
  const Json* value = any(name);
  if (value == nullptr) return std::nullopt;
  if (!value->as_string()) fail_kind(name, "a string", *value);
  return value->as_string();
}

const Json* FieldReader::object(std::string_view name) {
  const Json* value = any(name);
  if (value == nullptr || value->is_object()) return value;
  fail_kind(name, "an object", *value);
  return nullptr;
}

const Json* FieldReader::array(std::string_view name) {
  const Json* value = any(name);
  if (value == nullptr || value->is_array()) return value;
  fail_kind(name, "an array", *value);
  return nullptr;
}

void FieldReader::fail(ApiError error) {
  if (!failed()) error_ = std::move(error);
}

void FieldReader::fail(std::string_view name, std::string message, std::string code) {
  fail(ApiError{.message = std::move(message), .param = path_of(name), .code = std::move(code)});
}

void FieldReader::fail_missing(std::string_view name) {
  fail(name, format("Missing required parameter: '{}'.", path_of(name)), "missing_required_parameter");
}

void FieldReader::fail_kind(std::string_view name, std::string_view expected, const Json& found) {
  fail(name, format("Invalid type for '{}': expected {}, but got {} instead.", path_of(name), expected, kind_of(found)),
       "invalid_type");
}

}  // namespace infer::api
