// Filters on text: case, trimming, replacing, indenting, joining.
#include <algorithm>

#include "base/format.h"
#include "jinja/builtin.h"
#include "jinja/evaluator.h"
#include "jinja/item_access.h"
#include "jinja/operators.h"
#include "jinja/percent_format.h"
#include "jinja/python_text.h"
#include "jinja/text_operations.h"

namespace infer::jinja {
namespace {

// Filters take any value and work on its text.
const Text& input_text(Invocation& call) { return as_text(call.self, call.heap).text(); }

Result<Value> upper(Invocation& call) { return change_case(input_text(call), LetterCase::kUpper, call.heap); }
Result<Value> lower(Invocation& call) { return change_case(input_text(call), LetterCase::kLower, call.heap); }
Result<Value> capitalize(Invocation& call) { return change_case(input_text(call), LetterCase::kCapital, call.heap); }
Result<Value> title(Invocation& call) { return change_case(input_text(call), LetterCase::kTitleFilter, call.heap); }
Result<Value> string(Invocation& call) { return as_text(call.self, call.heap); }

Result<Value> trim(Invocation& call) {
  INFER_ASSIGN(const Text* characters, text_of(call, 0));
  const Text& text = input_text(call);
  return stripped(text, characters, true, true, call.heap);
}

Result<Value> replace(Invocation& call) {
  INFER_ASSIGN(const Text* old, text_of(call, 0));
  const Value fresh = as_text(call.values[1], call.heap);
  int64_t count = -1;
  if (!call.values[2].is(Kind::kNone)) {
    INFER_ASSIGN(count, integer_of(call, 2, -1));
  }
  return replaced(input_text(call), old != nullptr ? *old : Text(), fresh.text(), count, call.heap);
}

Result<Value> indent(Invocation& call) {
  if (!call.self.is(Kind::kString)) return bad_argument(format("{} is no string", type_name(call.self)));
  TextBuilder margin(call.heap);
  if (call.values[0].is(Kind::kString)) {
    margin.append(call.values[0].text());
  } else {
    INFER_ASSIGN(const int64_t width, integer_of(call, 0, 4));
    for (int64_t i = 0; i < width && call.heap.step(); ++i) margin.append(" ", Origin::kTemplate);
  }
  const bool first = flag_of(call, 1, false), blank = flag_of(call, 2, false);
  const Text& text = input_text(call);
  TextBuilder out(call.heap);
  const std::vector<LineSpan> lines = line_spans(text.bytes());
  const bool ends_in_break = !lines.empty() && lines.back().next > lines.back().end;
  for (size_t i = 0; i < lines.size() + (ends_in_break || lines.empty() ? 1 : 0) && call.heap.step(); ++i) {
    const LineSpan line = i < lines.size() ? lines[i] : LineSpan{0, 0, 0};
    if (i > 0) out.append("\n", Origin::kTemplate);
    if (i == 0 ? first : blank || line.end > line.begin) out.append(margin.text());
    out.append(text, line.begin, line.end);
  }
  return out.finish();
}

Result<Value> join(Invocation& call) {
  const Value glue = call.given[0] ? as_text(call.values[0], call.heap) : call.heap.string("", Origin::kTemplate);
  INFER_ASSIGN(const std::vector<Value> items, elements_of(call.self, call.heap));
  TextBuilder out(call.heap);
  for (size_t i = 0; i < items.size(); ++i) {
    Value item = items[i];
    if (call.given[1] && !call.values[1].is(Kind::kNone)) {
      INFER_ASSIGN(item, item_at_path(item, call.values[1], call.evaluator));
    }
    if (i > 0) out.append(glue.text());
    append_text(item, out, call.heap);
  }
  return out.finish();
}

Result<Value> format_filter(Invocation& call) {
  Value values;
  if (call.arguments.named.empty()) {
    ListBuilder list(call.heap, Shape::kTuple);
    for (const Value& value : call.arguments.positional) list.push(value);
    values = list.finish();
  } else {
    DictBuilder dict(call.heap);
    for (const auto& [name, value] : call.arguments.named) dict.add(name, value);
    values = dict.finish();
  }
  return percent_format(input_text(call), values, call.heap);
}

Result<Value> escape(Invocation& call) {
  const Text& text = input_text(call);
  TextBuilder out(call.heap);
  for (size_t at = 0; at < text.size(); ++at) {
    std::string_view name;
    switch (text.bytes()[at]) {
      case '&': name = "&amp;"; break;
      case '<': name = "&lt;"; break;
      case '>': name = "&gt;"; break;
      case '"': name = "&#34;"; break;
      case '\'': name = "&#39;"; break;
      default: out.append(text, at, at + 1); continue;
    }
    out.append(name, text.origin_at(at));
  }
  return out.finish();
}

Result<Value> word_count(Invocation& call) {
  const Text& text = input_text(call);
  return Value::of(static_cast<int64_t>(split_words(text, -1, call.heap).size()));
}

constexpr BuiltinFunction kRows[] = {
    {"upper", upper},
    {"lower", lower},
    {"capitalize", capitalize},
    {"title", title},
    {"string", string},
    {"safe", string},
    {"trim", trim, {"chars"}},
    {"replace", replace, {"old", "new", "count"}, 2},
    {"indent", indent, {"width", "first", "blank"}},
    {"join", join, {"d", "attribute"}},
    {"format", format_filter, {}, 0, true},
    {"escape", escape},
    {"e", escape},
    {"wordcount", word_count},
};

}  // namespace

BuiltinTable text_filters() { return kRows; }

}  // namespace infer::jinja
