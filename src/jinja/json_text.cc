#include "jinja/json_text.h"

#include <algorithm>

#include "base/format.h"
#include "base/merge_sort.h"
#include "jinja/operators.h"
#include "jinja/python_text.h"

namespace infer::jinja {
namespace {

class JsonWriter {
 public:
  JsonWriter(const JsonStyle& style, Heap& heap) : style_(style), heap_(heap), out_(heap) {}

  Status write(const Value& value, int level) {
    if (!heap_.step()) return {};
    switch (value.kind()) {
      case Kind::kNone: put("null"); return {};
      case Kind::kBool: put(value.boolean() ? "true" : "false"); return {};
      case Kind::kInt: put(format("{}", value.integer())); return {};
      case Kind::kFloat: put(number(value.real())); return {};
      case Kind::kString: write_string(value.text()); return {};
      case Kind::kDict: return write_dict(value.dict(), level);
      case Kind::kList:
        if (value.list().shape <= Shape::kTuple) return write_list(value.list(), level);
        break;
      default: break;
    }
    if (value.is(Kind::kUndefined)) return undefined_error(value);
    return Error{ErrorCode::kInvalidArgument, format("{} has no form in JSON", type_name(value))};
  }
  Value finish() { return out_.finish(); }

 private:
  void put(std::string_view text) { out_.append(text, Origin::kTemplate); }
  void put(const Text& text) { out_.append(text); }

  static std::string number(double value) {
    std::string text = float_repr(value);
    if (text == "nan") return "NaN";
    if (text == "inf" || text == "-inf") return text[0] == '-' ? "-Infinity" : "Infinity";
    return text;
  }

  void new_line(int level) {
    if (!style_.indent) return;
    put("\n");
    for (int i = 0; i < level; ++i) put(*style_.indent);
  }

  Status write_list(const List& list, int level) {
    if (list.items.empty()) {
      put("[]");
      return {};
    }
    put("[");
    for (size_t i = 0; i < list.items.size(); ++i) {
      if (i > 0) put(style_.item_separator);
      new_line(level + 1);
      INFER_TRY(write(list.items[i], level + 1));
    }
    new_line(level);
    put("]");
    return {};
  }

  Status write_dict(const Dict& dict, int level) {
    if (dict.entries.empty()) {
      put("{}");
      return {};
    }
    std::vector<std::pair<Value, Value>> entries = dict.entries;
    heap_.charge(entries.size() * sizeof(entries[0]));
    Status status;
    if (style_.sort_keys) {
      merge_sort(entries, [&](const auto& a, const auto& b) {
        const Result<bool> is_less = less(a.first, b.first, heap_);
        if (!is_less) status = is_less.error();
        return is_less && *is_less;
      });
      INFER_TRY(status);
    }
    put("{");
    for (size_t i = 0; i < entries.size(); ++i) {
      if (i > 0) put(style_.item_separator);
      new_line(level + 1);
      INFER_TRY(write_key(entries[i].first, level));
      put(style_.key_separator);
      INFER_TRY(write(entries[i].second, level + 1));
    }
    new_line(level);
    put("}");
    return {};
  }

  // Keys are strings in JSON: numbers and the like are written in quotes.
  Status write_key(const Value& key, int level) {
    if (key.is(Kind::kString)) return write(key, level);
    const bool has_form = key.is_number() || key.is(Kind::kNone);
    if (!has_form) {
      return Error{ErrorCode::kInvalidArgument, format("{} is no key in JSON", type_name(key))};
    }
    put("\"");
    INFER_TRY(write(key, level));
    put("\"");
    return {};
  }

  void write_string(const Text& text) {
    const std::string_view bytes = text.bytes();
    put("\"");
    heap_.scan(bytes.size());
    size_t plain = 0;  // From here on nothing was written yet.
    for (size_t at = 0; at < bytes.size();) {
      const auto byte = static_cast<uint8_t>(bytes[at]);
      const bool is_plain = byte >= 0x20 && byte != '"' && byte != '\\' && (byte < 0x7F || !style_.ensure_ascii);
      if (is_plain || byte == 0x7F) {
        ++at;
        continue;
      }
      out_.append(text, plain, at);
      const Character next = character_at(bytes, at);
      out_.append(escaped(next.code == kNoCode ? 0xFFFD : next.code), text.origin_at(at));
      at += next.length;
      plain = at;
    }
    out_.append(text, plain, bytes.size());
    put("\"");
  }

  static std::string escaped(char32_t code) {
    switch (code) {
      case '"': return "\\\"";
      case '\\': return "\\\\";
      case '\n': return "\\n";
      case '\r': return "\\r";
      case '\t': return "\\t";
      case '\f': return "\\f";
      case '\b': return "\\b";
      default: break;
    }
    if (code < 0x10000) return unit(code);
    return unit(0xD800 + ((code - 0x10000) >> 10)) + unit(0xDC00 + ((code - 0x10000) & 0x3FF));
  }
  static std::string unit(char32_t code) {
    constexpr char kHex[] = "0123456789abcdef";
    std::string text = "\\u";
    for (int shift = 12; shift >= 0; shift -= 4) text += kHex[code >> shift & 15];
    return text;
  }

  const JsonStyle& style_;
  Heap& heap_;
  TextBuilder out_;
};

}  // namespace

Result<Value> json_text(const Value& value, const JsonStyle& style, Heap& heap) {
  JsonWriter writer(style, heap);
  INFER_TRY(writer.write(value, 0));
  return writer.finish();
}

}  // namespace infer::jinja
