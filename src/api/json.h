// A JSON document as a value: built in order, written as text, read from text.
//
// Invariants: what dump() gives is always valid JSON in valid UTF-8: bytes that are not UTF-8 become U+FFFD, NaN and
// infinities become null. Objects keep the order in which keys were set; a key occurs once.
// parse() takes hostile text: nesting beyond kDepthMax, trailing text and numbers out of range are errors (kCorrupt)
// that name the place.
// Thread safety: a plain value. Ownership: owns its strings.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "base/result.h"

namespace infer::api {

class Json {
 public:
  using Member = std::pair<std::string, Json>;
  static constexpr int kDepthMax = 32;

  Json() = default;  // null
  Json(std::nullptr_t) {}
  Json(bool value) : value_(value) {}
  Json(double value) : value_(value) {}
  Json(float value) : value_(static_cast<double>(value)) {}
  Json(std::string value) : value_(std::move(value)) {}
  Json(std::string_view value) : value_(std::string(value)) {}
  Json(const char* value) : value_(std::string(value)) {}
  template <class T, class = std::enable_if_t<std::is_integral_v<T> && !std::is_same_v<T, bool>>>
  Json(T value) {
    if constexpr (std::is_signed_v<T>) {
      value_ = static_cast<int64_t>(value);
    } else {
      value_ = static_cast<uint64_t>(value);
    }
  }

  static Json array() { return Json(Array{}); }
  static Json object() { return Json(Object{}); }
  // The keys must differ from each other (set() looks for its key each time, which is slow for very many).
  static Json object_of(std::vector<Member> members) { return Json(std::move(members)); }
  template <class Range>
  static Json array_of(const Range& values) {
    Json result = array();
    for (const auto& value : values) result.push(Json(value));
    return result;
  }

  // Objects only: sets or replaces. Returns *this, to chain.
  Json& set(std::string_view key, Json value);
  // Arrays only: appends. Returns *this.
  Json& push(Json value);

  bool is_null() const { return std::holds_alternative<std::monostate>(value_); }
  bool is_array() const { return std::holds_alternative<Array>(value_); }
  bool is_object() const { return std::holds_alternative<Object>(value_); }
  std::optional<bool> as_bool() const;
  std::optional<int64_t> as_int() const;  // Also a float with a whole value, as many writers send 1.0.
  std::optional<double> as_double() const;
  // A number that was written with a point or an exponent, or made from a floating-point one.
  bool is_float() const { return std::holds_alternative<double>(value_); }
  std::optional<std::string_view> as_string() const;

  // Null unless this is an object with that key.
  const Json* find(std::string_view key) const;
  // Empty unless this is an array / an object.
  const std::vector<Json>& elements() const;
  const std::vector<Member>& members() const;

  // One line; or, with indent > 0, one member per line.
  std::string dump(int indent = 0) const;
  static Result<Json> parse(std::string_view text);

 private:
  using Array = std::vector<Json>;
  using Object = std::vector<Member>;
  explicit Json(Array value) : value_(std::move(value)) {}
  explicit Json(Object value) : value_(std::move(value)) {}
  void write(std::string& out, int indent, int level) const;
  void write_items(std::string& out, int indent, int level) const;

  std::variant<std::monostate, bool, int64_t, uint64_t, double, std::string, Array, Object> value_;
};

}  // namespace infer::api
