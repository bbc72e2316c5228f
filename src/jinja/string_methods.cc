// Methods of Python's str.
#include <algorithm>

#include "base/format.h"
#include "jinja/builtin.h"
#include "jinja/evaluator.h"
#include "jinja/operators.h"
#include "jinja/python_text.h"
#include "jinja/text_operations.h"

namespace infer::jinja {
namespace {

const Text& self_text(const Invocation& call) { return call.self.text(); }

Result<Value> upper(Invocation& call) { return change_case(self_text(call), LetterCase::kUpper, call.heap); }
Result<Value> lower(Invocation& call) { return change_case(self_text(call), LetterCase::kLower, call.heap); }
Result<Value> title(Invocation& call) { return change_case(self_text(call), LetterCase::kTitle, call.heap); }
Result<Value> capitalize(Invocation& call) { return change_case(self_text(call), LetterCase::kCapital, call.heap); }

Result<Value> strip_ends(Invocation& call, bool left, bool right) {
  INFER_ASSIGN(const Text* characters, text_of(call, 0));
  return stripped(self_text(call), characters, left, right, call.heap);
}
Result<Value> strip_both(Invocation& call) { return strip_ends(call, true, true); }
Result<Value> strip_left(Invocation& call) { return strip_ends(call, true, false); }
Result<Value> strip_right(Invocation& call) { return strip_ends(call, false, true); }

Result<Value> split_text(Invocation& call, bool from_right) {
  INFER_ASSIGN(const Text* separator, text_of(call, 0));
  INFER_ASSIGN(const int64_t limit, integer_of(call, 1, -1));
  if (separator != nullptr && separator->empty()) return bad_argument("the separator is empty");
  if (separator == nullptr && from_right && limit >= 0) return bad_argument("a limit needs a separator");
  ListBuilder out(call.heap);
  out.items() = separator != nullptr ? split_at(self_text(call), *separator, limit, from_right, call.heap)
                                     : split_words(self_text(call), limit, call.heap);
  return out.finish();
}
Result<Value> split(Invocation& call) { return split_text(call, false); }
Result<Value> split_from_right(Invocation& call) { return split_text(call, true); }

Result<Value> split_lines(Invocation& call) {
  const bool keeps_ends = flag_of(call, 0, false);
  ListBuilder out(call.heap);
  call.heap.scan(self_text(call).size());
  for (const LineSpan& line : line_spans(self_text(call).bytes())) {
    TextBuilder text(call.heap);
    text.append(self_text(call), line.begin, keeps_ends ? line.next : line.end);
    out.push(text.finish());
  }
  return out.finish();
}

// The part of the text that start and end leave.
Result<std::string_view> chosen_part(const Invocation& call, size_t& begin) {
  const std::string_view text = self_text(call).bytes();
  const auto count = static_cast<int64_t>(count_characters(text));
  const auto place = [count](int64_t at) {
    return static_cast<size_t>(std::clamp<int64_t>(at < 0 ? at + count : at, 0, count));
  };
  INFER_ASSIGN(const int64_t start, integer_of(call, 1, 0));
  INFER_ASSIGN(const int64_t end, integer_of(call, 2, count));
  begin = byte_of_character(text, place(start));
  const size_t stop = byte_of_character(text, place(end));
  return text.substr(begin, stop > begin ? stop - begin : 0);
}

Result<Value> has_end(Invocation& call, bool at_start) {
  size_t begin = 0;
  INFER_ASSIGN(const std::string_view text, chosen_part(call, begin));
  const auto matches = [&](const Value& end) {
    const std::string& bytes = end.text().bytes();
    if (bytes.size() > text.size()) return false;
    return (at_start ? text.substr(0, bytes.size()) : text.substr(text.size() - bytes.size())) == bytes;
  };
  const Value& ends = call.values[0];
  const bool is_tuple = ends.is(Kind::kList) && ends.list().shape == Shape::kTuple;
  const std::vector<Value> each = is_tuple ? ends.list().items : std::vector<Value>{ends};
  const auto is_text = [](const Value& value) { return value.is(Kind::kString); };
  if (!std::all_of(each.begin(), each.end(), is_text)) return bad_argument("it needs a string or a tuple of strings");
  return Value::of(std::any_of(each.begin(), each.end(), matches));
}
Result<Value> starts_with(Invocation& call) { return has_end(call, true); }
Result<Value> ends_with(Invocation& call) { return has_end(call, false); }

Result<Value> replace(Invocation& call) {
  INFER_ASSIGN(const Text* old, text_of(call, 0));
  INFER_ASSIGN(const Text* fresh, text_of(call, 1));
  INFER_ASSIGN(const int64_t count, integer_of(call, 2, -1));
  if (old == nullptr || fresh == nullptr) return bad_argument("it needs two strings");
  return replaced(self_text(call), *old, *fresh, count, call.heap);
}

// The index of the first or last occurrence, in characters; -1: none.
Result<int64_t> find_index(Invocation& call, bool from_right) {
  INFER_ASSIGN(const Text* needle, text_of(call, 0));
  if (needle == nullptr) return bad_argument("it needs a string");
  size_t begin = 0;
  INFER_ASSIGN(const std::string_view text, chosen_part(call, begin));
  call.heap.scan(self_text(call).size() + needle->size());
  size_t found = std::string_view::npos;
  if (needle->empty()) {
    found = from_right ? text.size() : 0;
  } else {
    const Searcher searcher(needle->bytes());
    for (size_t at = searcher.find(text, 0); at != std::string_view::npos;
         at = searcher.find(text, at + needle->size())) {
      found = at;
      if (!from_right) break;
    }
  }
  if (found == std::string_view::npos) return int64_t{-1};
  return static_cast<int64_t>(count_characters(std::string_view(self_text(call).bytes()).substr(0, begin + found)));
}
Result<Value> find(Invocation& call) {
  INFER_ASSIGN(const int64_t index, find_index(call, false));
  return Value::of(index);
}
Result<Value> find_last(Invocation& call) {
  INFER_ASSIGN(const int64_t index, find_index(call, true));
  return Value::of(index);
}
Result<Value> index(Invocation& call) {
  INFER_ASSIGN(const int64_t found, find_index(call, false));
  if (found < 0) return bad_argument("the text is not there");
  return Value::of(found);
}

Result<Value> count(Invocation& call) {
  INFER_ASSIGN(const Text* needle, text_of(call, 0));
  if (needle == nullptr) return bad_argument("it needs a string");
  if (needle->empty()) return Value::of(static_cast<int64_t>(count_characters(self_text(call).bytes())) + 1);
  const auto parts = split_at(self_text(call), *needle, -1, false, call.heap);
  return Value::of(static_cast<int64_t>(parts.size()) - 1);
}

Result<Value> join(Invocation& call) {
  INFER_ASSIGN(const std::vector<Value> items, elements_of(call.values[0], call.heap));
  TextBuilder out(call.heap);
  for (size_t i = 0; i < items.size(); ++i) {
    if (!items[i].is(Kind::kString)) {
      return bad_argument(format("element {} is {}, not a string", i, type_name(items[i])));
    }
    if (i > 0) out.append(self_text(call));
    out.append(items[i].text());
  }
  return out.finish();
}

Result<Value> remove_end(Invocation& call, bool at_start) {
  INFER_ASSIGN(const Text* end, text_of(call, 0));
  if (end == nullptr) return bad_argument("it needs a string");
  const std::string_view text = self_text(call).bytes();
  const bool is_there =
      end->size() <= text.size() &&
      (at_start ? text.substr(0, end->size()) : text.substr(text.size() - end->size())) == end->bytes();
  TextBuilder out(call.heap);
  const size_t begin = is_there && at_start ? end->size() : 0;
  out.append(self_text(call), begin, text.size() - (is_there && !at_start ? end->size() : 0));
  return out.finish();
}
Result<Value> remove_prefix(Invocation& call) { return remove_end(call, true); }
Result<Value> remove_suffix(Invocation& call) { return remove_end(call, false); }

// (before, separator, after)
Result<Value> partition_text(Invocation& call, bool from_right) {
  INFER_ASSIGN(const Text* separator, text_of(call, 0));
  if (separator == nullptr || separator->empty()) return bad_argument("the separator is empty");
  std::vector<Value> parts = split_at(self_text(call), *separator, 1, from_right, call.heap);
  const Value empty = call.heap.string("", Origin::kTemplate);
  if (parts.size() == 2) {
    parts.insert(parts.begin() + 1, call.heap.string(*separator));
  } else {
    parts.insert(from_right ? parts.begin() : parts.end(), 2, empty);
  }
  return call.heap.list(std::move(parts), Shape::kTuple);
}
Result<Value> partition(Invocation& call) { return partition_text(call, false); }
Result<Value> partition_from_right(Invocation& call) { return partition_text(call, true); }

Result<Value> pad(Invocation& call, bool left, bool right) {
  INFER_ASSIGN(const int64_t width, integer_of(call, 0, 0));
  INFER_ASSIGN(const Text* fill, text_of(call, 1));
  const Text space(" ", Origin::kTemplate);
  const int64_t missing = width - static_cast<int64_t>(count_characters(self_text(call).bytes()));
  // As CPython's center: the odd one goes left when the width is odd.
  const int64_t before = missing <= 0 ? 0 : left && right ? missing / 2 + (missing & width & 1) : left ? missing : 0;
  TextBuilder out(call.heap);
  const Text& filler = fill != nullptr ? *fill : space;
  if (count_characters(filler.bytes()) != 1) return bad_argument("the fill is not one character");
  for (int64_t i = 0; i < before && call.heap.step(); ++i) out.append(filler);
  out.append(self_text(call));
  for (int64_t i = before; i < missing && call.heap.step(); ++i) out.append(filler);
  return out.finish();
}
Result<Value> center(Invocation& call) { return pad(call, true, true); }
Result<Value> left_justify(Invocation& call) { return pad(call, false, true); }
Result<Value> right_justify(Invocation& call) { return pad(call, true, false); }

Result<Value> fill_zeros(Invocation& call) {
  INFER_ASSIGN(const int64_t width, integer_of(call, 0, 0));
  const Text& text = self_text(call);
  const bool has_sign = !text.empty() && (text.bytes()[0] == '-' || text.bytes()[0] == '+');
  TextBuilder out(call.heap);
  out.append(text, 0, has_sign ? 1 : 0);
  for (auto i = static_cast<int64_t>(count_characters(text.bytes())); i < width && call.heap.step(); ++i) {
    out.append("0", Origin::kTemplate);
  }
  out.append(text, has_sign ? 1 : 0, text.size());
  return out.finish();
}

// Not empty, and every character is of the kind.
template <class IsOfKind>
Result<Value> all_characters(const Invocation& call, const IsOfKind& is_of_kind) {
  const std::string_view text = self_text(call).bytes();
  call.heap.scan(text.size());
  for (size_t at = 0; at < text.size(); at += character_at(text, at).length) {
    if (!is_of_kind(character_at(text, at).code)) return Value::of(false);
  }
  return Value::of(!text.empty());
}
bool is_digit_code(char32_t code) { return code >= '0' && code <= '9'; }
Result<Value> is_digit(Invocation& call) { return all_characters(call, is_digit_code); }
Result<Value> is_alpha(Invocation& call) { return all_characters(call, is_letter); }
Result<Value> is_alnum(Invocation& call) {
  return all_characters(call, [](char32_t code) { return is_digit_code(code) || is_letter(code); });
}
Result<Value> is_blank(Invocation& call) { return all_characters(call, is_space); }
Result<Value> passes(Invocation& call, std::string_view test) {
  INFER_ASSIGN(const bool holds, call.evaluator.apply_test(test, call.self, {}));
  return Value::of(holds);
}
Result<Value> is_lower(Invocation& call) { return passes(call, "lower"); }
Result<Value> is_upper(Invocation& call) { return passes(call, "upper"); }

constexpr BuiltinFunction kRows[] = {
    {"upper", upper},
    {"lower", lower},
    {"title", title},
    {"capitalize", capitalize},
    {"strip", strip_both, {"chars"}},
    {"lstrip", strip_left, {"chars"}},
    {"rstrip", strip_right, {"chars"}},
    {"split", split, {"sep", "maxsplit"}},
    {"rsplit", split_from_right, {"sep", "maxsplit"}},
    {"splitlines", split_lines, {"keepends"}},
    {"startswith", starts_with, {"prefix", "start", "end"}, 1},
    {"endswith", ends_with, {"suffix", "start", "end"}, 1},
    {"replace", replace, {"old", "new", "count"}, 2},
    {"find", find, {"sub", "start", "end"}, 1},
    {"rfind", find_last, {"sub", "start", "end"}, 1},
    {"index", index, {"sub", "start", "end"}, 1},
    {"count", count, {"sub"}, 1},
    {"join", join, {"iterable"}, 1},
    {"removeprefix", remove_prefix, {"prefix"}, 1},
    {"removesuffix", remove_suffix, {"suffix"}, 1},
    {"partition", partition, {"sep"}, 1},
    {"rpartition", partition_from_right, {"sep"}, 1},
    {"center", center, {"width", "fillchar"}, 1},
    {"ljust", left_justify, {"width", "fillchar"}, 1},
    {"rjust", right_justify, {"width", "fillchar"}, 1},
    {"zfill", fill_zeros, {"width"}, 1},
    {"isdigit", is_digit},
    {"isdecimal", is_digit},
    {"isnumeric", is_digit},
    {"isalpha", is_alpha},
    {"isalnum", is_alnum},
    {"isspace", is_blank},
    {"islower", is_lower},
    {"isupper", is_upper},
};

}  // namespace

BuiltinTable string_methods() { return kRows; }

}  // namespace infer::jinja
