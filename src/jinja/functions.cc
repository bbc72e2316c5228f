// Functions that every template sees: Jinja's own, and those that Hugging Face adds.
#include "base/format.h"
#include "jinja/builtin.h"
#include "jinja/calendar_time.h"
#include "jinja/evaluator.h"
#include "jinja/operators.h"

namespace infer::jinja {
namespace {

Result<Value> range(Invocation& call) {
  INFER_ASSIGN(int64_t begin, integer_of(call, 0, 0));
  INFER_ASSIGN(int64_t end, integer_of(call, 1, 0));
  INFER_ASSIGN(const int64_t step, integer_of(call, 2, 1));
  if (!call.given[1]) end = std::exchange(begin, 0);
  if (step == 0) return bad_argument("the step is 0");
  // The difference of two 64-bit numbers needs 65 bits.
  const auto low = static_cast<uint64_t>(step > 0 ? begin : end), high = static_cast<uint64_t>(step > 0 ? end : begin);
  const uint64_t stride = step > 0 ? static_cast<uint64_t>(step) : 0 - static_cast<uint64_t>(step);
  const bool is_empty = step > 0 ? begin >= end : begin <= end;
  const uint64_t count = is_empty ? 0 : (high - low - 1) / stride + 1;
  if (count > static_cast<uint64_t>(kRangeMax)) {
    return bad_argument(format("{} numbers; at most {} are given", count, kRangeMax));
  }
  ListBuilder out(call.heap);
  for (uint64_t i = 0; i < count; ++i) out.push(Value::of(begin + static_cast<int64_t>(i) * step));
  return out.finish();
}

Result<Value> make_namespace(Invocation& call) {
  Namespace* names = call.heap.make_namespace();
  const auto set = [&](std::string_view name, const Value& value) {
    for (auto& [known, old] : names->entries) {
      call.heap.step();
      if (known != name) continue;
      old = value;
      return;
    }
    if (call.heap.charge(name.size() + sizeof(Value))) names->entries.emplace_back(name, value);
  };
  for (const Value& dict : call.arguments.positional) {
    if (!dict.is(Kind::kDict)) return bad_argument(format("{} is no dict", type_name(dict)));
    for (const auto& [key, value] : dict.dict().entries) {
      if (!key.is(Kind::kString)) return bad_argument("a key is no string");
      set(key.text().bytes(), value);
    }
  }
  for (const auto& [name, value] : call.arguments.named) set(name, value);
  return Value::of(names);
}

Result<Value> make_dict(Invocation& call) {
  DictBuilder out(call.heap);
  for (const Value& dict : call.arguments.positional) {
    if (!dict.is(Kind::kDict)) return bad_argument(format("{} is no dict", type_name(dict)));
    for (const auto& [key, value] : dict.dict().entries) out.set(key, value);
  }
  for (const auto& [name, value] : call.arguments.named) out.set(call.heap.string(name, Origin::kTemplate), value);
  return out.finish();
}

// Templates refuse conversations that their model cannot take. The message is for whoever sent them.
Result<Value> raise_exception(Invocation& call) {
  const Value message = as_text(call.values[0], call.heap);
  return Error{ErrorCode::kInvalidArgument, "the template refuses these messages: " + message.text().bytes()};
}

Result<Value> strftime_now(Invocation& call) {
  INFER_ASSIGN(const Text* pattern, text_of(call, 0));
  if (pattern == nullptr) return bad_argument("there is no format");
  INFER_ASSIGN(const std::string text, format_time(call.evaluator.now(), pattern->bytes()));
  return call.heap.string(text, Origin::kTemplate);
}

constexpr BuiltinFunction kRows[] = {
    {"range", range, {"start", "stop", "step"}, 1},
    {"namespace", make_namespace, {}, 0, true},
    {"dict", make_dict, {}, 0, true},
    {"raise_exception", raise_exception, {"message"}, 1},
    {"strftime_now", strftime_now, {"format"}, 1},
};

}  // namespace

BuiltinTable global_functions() { return kRows; }

}  // namespace infer::jinja
