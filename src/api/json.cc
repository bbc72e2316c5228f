#include "api/json.h"

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "base/format.h"

namespace infer::api {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

// Length of the well-formed UTF-8 sequence at text[at], 0 when there is none (RFC 3629: no overlong forms, no
// surrogates, nothing above U+10FFFF).
size_t sequence_length(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  const unsigned lead = byte(at);
  if (lead < 0x80) return 1;
  const size_t length = lead >= 0xC2 && lead <= 0xDF   ? 2
                        : (lead & 0xF0) == 0xE0        ? 3
                        : lead >= 0xF0 && lead <= 0xF4 ? 4
                                                       : 0;
  if (length == 0) return 0;
  const unsigned low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  const unsigned high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  if (byte(at + 1) < low || byte(at + 1) > high) return 0;
  for (size_t i = 2; i < length; ++i) {
    if (byte(at + i) < 0x80 || byte(at + i) > 0xBF) return 0;
  }
  return length;
}

void write_control(std::string& out, unsigned char c) {
  switch (c) {
    case '"': out += "\\\""; return;
    case '\\': out += "\\\\"; return;
    case '\n': out += "\\n"; return;
    case '\r': out += "\\r"; return;
    case '\t': out += "\\t"; return;
    default: break;
  }
  constexpr char kHex[] = "0123456789abcdef";
  out += "\\u00";
  out += kHex[c >> 4];
  out += kHex[c & 15];
}

void write_string(std::string& out, std::string_view text) {
  out += '"';
  for (size_t i = 0; i < text.size();) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c < 0x20 || c == '"' || c == '\\' || c == 0x7F) {
      write_control(out, c);
      ++i;
      continue;
    }
    const size_t length = sequence_length(text, i);
    out += length > 0 ? text.substr(i, length) : kReplacement;
    i += length > 0 ? length : 1;
  }
  out += '"';
}

template <class T>
void write_number(std::string& out, T value) {
  char text[40];
  const auto end = std::to_chars(text, text + sizeof(text), value);
  out.append(text, end.ptr);
}

void new_line(std::string& out, int indent, int level) {
  if (indent <= 0) return;
  out += '\n';
  out.append(static_cast<size_t>(indent * level), ' ');
}

Json from_boost(const boost::json::value& value) {
  using boost::json::kind;
  switch (value.kind()) {
    case kind::null: return nullptr;
    case kind::bool_: return value.get_bool();
    case kind::int64: return value.get_int64();
    case kind::uint64: return value.get_uint64();
    case kind::double_: return value.get_double();
    case kind::string: return std::string_view(value.get_string().data(), value.get_string().size());
    case kind::array: {
      Json result = Json::array();
      for (const auto& element : value.get_array()) result.push(from_boost(element));
      return result;
    }
    case kind::object: break;
  }
  std::vector<Json::Member> members;
  members.reserve(value.get_object().size());
  for (const auto& member : value.get_object()) {  // Boost has made the keys unique: the last one stays.
    members.emplace_back(std::string(member.key().data(), member.key().size()), from_boost(member.value()));
  }
  return Json::object_of(std::move(members));
}

}  // namespace

Json& Json::set(std::string_view key, Json value) {
  auto* object = std::get_if<Object>(&value_);
  INFER_CHECK(object != nullptr);
  for (Member& member : *object) {
    if (member.first == key) {
      member.second = std::move(value);
      return *this;
    }
  }
  object->emplace_back(std::string(key), std::move(value));
  return *this;
}

Json& Json::push(Json value) {
  auto* array = std::get_if<Array>(&value_);
  INFER_CHECK(array != nullptr);
  array->push_back(std::move(value));
  return *this;
}

std::optional<bool> Json::as_bool() const {
  if (const bool* value = std::get_if<bool>(&value_)) return *value;
  return std::nullopt;
}

std::optional<int64_t> Json::as_int() const {
  if (const int64_t* value = std::get_if<int64_t>(&value_)) return *value;
  if (const uint64_t* value = std::get_if<uint64_t>(&value_)) {
    if (*value <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return static_cast<int64_t>(*value);
  }
  if (const double* value = std::get_if<double>(&value_)) {
    // Below 2^63 in magnitude, so that the conversion is defined.
    if (std::floor(*value) == *value && std::fabs(*value) < 0x1.0p63) return static_cast<int64_t>(*value);
  }
  return std::nullopt;
}

std::optional<double> Json::as_double() const {
  if (const double* value = std::get_if<double>(&value_)) return *value;
  if (const int64_t* value = std::get_if<int64_t>(&value_)) return static_cast<double>(*value);
  if (const uint64_t* value = std::get_if<uint64_t>(&value_)) return static_cast<double>(*value);
  return std::nullopt;
}

std::optional<std::string_view> Json::as_string() const {
  if (const std::string* value = std::get_if<std::string>(&value_)) return *value;
  return std::nullopt;
}

const Json* Json::find(std::string_view key) const {
  for (const Member& member : members()) {
    if (member.first == key) return &member.second;
  }
  return nullptr;
}

const std::vector<Json>& Json::elements() const {
  static const Array kNone;
  const Array* array = std::get_if<Array>(&value_);
  return array ? *array : kNone;
}

const std::vector<Json::Member>& Json::members() const {
  static const Object kNone;
  const Object* object = std::get_if<Object>(&value_);
  return object ? *object : kNone;
}

void Json::write_items(std::string& out, int indent, int level) const {
  const bool object = is_object();
  // A list of numbers or strings reads better on one line.
  const auto is_plain = [](const Json& json) { return !json.is_array() && !json.is_object(); };
  if (!object && std::all_of(elements().begin(), elements().end(), is_plain)) indent = 0;
  const size_t count = object ? members().size() : elements().size();
  out += object ? '{' : '[';
  for (size_t i = 0; i < count; ++i) {
    if (i > 0) out += ',';
    new_line(out, indent, level + 1);
    if (object) {
      write_string(out, members()[i].first);
      out += indent > 0 ? ": " : ":";
    }
    (object ? members()[i].second : elements()[i]).write(out, indent, level + 1);
  }
  if (count > 0) new_line(out, indent, level);
  out += object ? '}' : ']';
}

void Json::write(std::string& out, int indent, int level) const {
  if (is_array() || is_object()) {
    write_items(out, indent, level);
  } else if (is_null()) {
    out += "null";
  } else if (const bool* boolean = std::get_if<bool>(&value_)) {
    out += *boolean ? "true" : "false";
  } else if (const int64_t* integer = std::get_if<int64_t>(&value_)) {
    write_number(out, *integer);
  } else if (const uint64_t* natural = std::get_if<uint64_t>(&value_)) {
    write_number(out, *natural);
  } else if (const double* real = std::get_if<double>(&value_)) {
    if (std::isfinite(*real)) {
      write_number(out, *real);
    } else {
      out += "null";
    }
  } else {
    write_string(out, std::get<std::string>(value_));
  }
}

std::string Json::dump(int indent) const {
  std::string out;
  write(out, indent, 0);
  return out;
}

Result<Json> Json::parse(std::string_view text) {
  boost::json::parse_options options;
  options.max_depth = kDepthMax;
  try {
    boost::json::stream_parser parser({}, options);
    boost::json::error_code error;
    const size_t read = parser.write_some(text.data(), text.size(), error);
    if (!error && read < text.size()) {
      return Error{ErrorCode::kCorrupt, format("JSON: text after the document's end at byte {}", read)};
    }
    if (!error) parser.finish(error);
    if (error)
      return Error{ErrorCode::kCorrupt, format("JSON: {} near byte {} of {}", error.message(), read, text.size())};
    return from_boost(parser.release());
  } catch (const std::exception& exception) {  // Memory only: everything else comes as an error code.
    return Error{ErrorCode::kExhausted, format("JSON of {} bytes: {}", text.size(), exception.what())};
  }
}

}  // namespace infer::api
