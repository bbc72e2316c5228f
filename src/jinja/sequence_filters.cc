// Filters on lists and dicts.
#include <algorithm>

#include "base/format.h"
#include "base/merge_sort.h"
#include "jinja/builtin.h"
#include "jinja/evaluator.h"
#include "jinja/item_access.h"
#include "jinja/operators.h"
#include "jinja/python_text.h"
#include "jinja/text_operations.h"

namespace infer::jinja {
namespace {

bool is_absent(const Invocation& call, size_t index) {
  return !call.given[index] || call.values[index].is(Kind::kNone);
}

Result<Value> length(Invocation& call) {
  const Value& value = call.self;
  switch (value.kind()) {
    case Kind::kUndefined: return Value::of(int64_t{0});
    case Kind::kString:
      call.heap.scan(value.text().size());
      return Value::of(static_cast<int64_t>(count_characters(value.text().bytes())));
    case Kind::kDict: return Value::of(static_cast<int64_t>(value.dict().entries.size()));
    case Kind::kLoop: return Value::of(static_cast<int64_t>(value.loop().items.size()));
    case Kind::kList:
      if (value.list().shape != Shape::kGenerator) return Value::of(static_cast<int64_t>(value.list().items.size()));
      break;
    default: break;
  }
  return bad_argument(format("{} has no length", type_name(value)));
}

Result<Value> first(Invocation& call) {
  if (call.self.is(Kind::kList) && call.self.list().shape == Shape::kGenerator) {  // Takes one, the others stay.
    List& list = call.self.list();
    return list.read < list.items.size() ? list.items[list.read++] : Value();
  }
  INFER_ASSIGN(const std::vector<Value> items, elements_of(call.self, call.heap));
  return items.empty() ? Value() : items.front();
}

Result<Value> last(Invocation& call) {
  if (call.self.is(Kind::kList) && call.self.list().shape == Shape::kGenerator) {
    return bad_argument("a generator has no last element: use list first");
  }
  INFER_ASSIGN(const std::vector<Value> items, elements_of(call.self, call.heap));
  return items.empty() ? Value() : items.back();
}

Result<Value> list(Invocation& call) {
  ListBuilder out(call.heap);
  INFER_ASSIGN(out.items(), elements_of(call.self, call.heap));
  return out.finish();
}

Result<Value> reverse(Invocation& call) {
  INFER_ASSIGN(std::vector<Value> items, elements_of(call.self, call.heap));
  std::reverse(items.begin(), items.end());
  if (!call.self.is(Kind::kString)) return call.heap.list(std::move(items), Shape::kGenerator);
  TextBuilder out(call.heap);
  for (const Value& item : items) out.append(item.text());
  return out.finish();
}

// What elements are compared by: an attribute, and without case unless that is asked for.
struct SortKey {
  Value path;  // Absent: the element itself; several, separated by commas, count one after the other.
  bool case_sensitive;

  Result<Value> of(const Value& item, Evaluator& evaluator) const {
    Heap& heap = evaluator.heap();
    if (!path.is(Kind::kString) || path.text().bytes().find(',') == std::string::npos) {
      Value key = item;
      if (!path.is(Kind::kUndefined) && !path.is(Kind::kNone)) {
        INFER_ASSIGN(key, item_at_path(item, path, evaluator));
      }
      return folded(key, heap);
    }
    ListBuilder keys(heap);
    for (const Value& part : split_at(path.text(), Text(",", Origin::kTemplate), -1, false, heap)) {
      INFER_ASSIGN(const Value key, item_at_path(item, part, evaluator));
      keys.push(folded(key, heap));
    }
    return keys.finish();
  }

 private:
  Value folded(const Value& key, Heap& heap) const {
    const bool folds = key.is(Kind::kString) && !case_sensitive;
    return folds ? change_case(key.text(), LetterCase::kLower, heap) : key;
  }
};

// Stable, like Python's sort. An error among the comparisons ends it.
Status sort_by(std::vector<std::pair<Value, Value>>& keyed, bool reverse, Heap& heap) {
  Status status;
  const auto before = [&](const auto& a, const auto& b) {
    if (!status || heap.exhausted()) return false;
    const Result<bool> is_less = reverse ? less(b.first, a.first, heap) : less(a.first, b.first, heap);
    if (!is_less) {
      status = is_less.error();
      return false;
    }
    return *is_less;
  };
  merge_sort(keyed, before);
  return status;
}

Result<Value> sort(Invocation& call) {
  const SortKey key{call.values[2], flag_of(call, 1, false)};
  INFER_ASSIGN(const std::vector<Value> items, elements_of(call.self, call.heap));
  std::vector<std::pair<Value, Value>> keyed;
  for (const Value& item : items) {
    INFER_ASSIGN(const Value of_item, key.of(item, call.evaluator));
    keyed.emplace_back(of_item, item);
  }
  INFER_TRY(sort_by(keyed, flag_of(call, 0, false), call.heap));
  ListBuilder out(call.heap);
  for (const auto& entry : keyed) out.push(entry.second);
  return out.finish();
}

Result<Value> dictsort(Invocation& call) {
  if (!call.self.is(Kind::kDict)) return bad_argument(format("{} is no dict", type_name(call.self)));
  INFER_ASSIGN(const Text* by, text_of(call, 1));
  const bool by_value = by != nullptr && by->bytes() == "value";
  if (by != nullptr && !by_value && by->bytes() != "key") return bad_argument("by is neither 'key' nor 'value'");
  const SortKey key{Value(), flag_of(call, 0, false)};
  std::vector<std::pair<Value, Value>> keyed;
  for (const auto& [name, value] : call.self.dict().entries) {
    INFER_ASSIGN(const Value of_entry, key.of(by_value ? value : name, call.evaluator));
    keyed.emplace_back(of_entry, call.heap.list({name, value}, Shape::kTuple));
  }
  INFER_TRY(sort_by(keyed, flag_of(call, 2, false), call.heap));
  ListBuilder out(call.heap);
  for (const auto& entry : keyed) out.push(entry.second);
  return out.finish();
}

Result<Value> unique(Invocation& call) {
  const SortKey key{call.values[1], flag_of(call, 0, false)};
  INFER_ASSIGN(const std::vector<Value> items, elements_of(call.self, call.heap));
  ListBuilder out(call.heap, Shape::kGenerator);
  std::vector<Value> seen;
  for (const Value& item : items) {
    INFER_ASSIGN(const Value of_item, key.of(item, call.evaluator));
    const auto same = [&](const Value& other) { return equal(other, of_item, call.heap); };
    if (call.heap.exhausted() || std::any_of(seen.begin(), seen.end(), same)) continue;
    seen.push_back(of_item);
    out.push(item);
  }
  return out.finish();
}

Result<Value> extreme(Invocation& call, bool largest) {
  const SortKey key{call.values[1], flag_of(call, 0, false)};
  INFER_ASSIGN(const std::vector<Value> items, elements_of(call.self, call.heap));
  Value best, best_key;
  for (size_t i = 0; i < items.size(); ++i) {
    INFER_ASSIGN(const Value of_item, key.of(items[i], call.evaluator));
    bool wins = i == 0;
    if (!wins) {
      INFER_ASSIGN(wins, largest ? less(best_key, of_item, call.heap) : less(of_item, best_key, call.heap));
    }
    if (!wins) continue;
    best = items[i];
    best_key = of_item;
  }
  return best;
}
Result<Value> smallest(Invocation& call) { return extreme(call, false); }
Result<Value> largest(Invocation& call) { return extreme(call, true); }

Result<Value> sum(Invocation& call) {
  INFER_ASSIGN(const std::vector<Value> items, elements_of(call.self, call.heap));
  Value total = call.given[1] ? call.values[1] : Value::of(int64_t{0});
  for (Value item : items) {
    if (!is_absent(call, 0)) {
      INFER_ASSIGN(item, item_at_path(item, call.values[0], call.evaluator));
    }
    INFER_ASSIGN(total, apply(Operator::kAdd, total, item, call.heap));
  }
  return total;
}

Result<Value> batch(Invocation& call) {
  INFER_ASSIGN(const int64_t size, integer_of(call, 0, 0));
  if (size < 1) return bad_argument("a batch has at least 1 element");
  INFER_ASSIGN(const std::vector<Value> items, elements_of(call.self, call.heap));
  ListBuilder out(call.heap, Shape::kGenerator);
  for (size_t begin = 0; begin < items.size(); begin += static_cast<size_t>(size)) {
    ListBuilder one(call.heap);
    for (size_t i = begin; i < begin + static_cast<size_t>(size) && !call.heap.exhausted(); ++i) {
      if (i < items.size()) {
        one.push(items[i]);
      } else if (is_absent(call, 1)) {
        break;
      } else {
        one.push(call.values[1]);
      }
    }
    out.push(one.finish());
  }
  return out.finish();
}

Result<Value> items(Invocation& call) {
  ListBuilder out(call.heap, Shape::kGenerator);
  if (call.self.is(Kind::kUndefined)) return out.finish();
  if (!call.self.is(Kind::kDict)) return bad_argument(format("{} is no dict", type_name(call.self)));
  for (const auto& [key, value] : call.self.dict().entries) {
    out.push(call.heap.list({key, value}, Shape::kTuple));
  }
  return out.finish();
}

// The arguments behind the first `skipped`, which name a filter or a test.
Arguments rest_of(const Arguments& arguments, size_t skipped) {
  Arguments rest;
  rest.positional.assign(arguments.positional.begin() + static_cast<std::ptrdiff_t>(skipped),
                         arguments.positional.end());
  rest.named = arguments.named;
  return rest;
}

// map('upper'), map(attribute='name', default='')
Result<Value> map(Invocation& call) {
  INFER_ASSIGN(const std::vector<Value> inputs, elements_of(call.self, call.heap));
  Value path, fallback;
  for (const auto& [name, value] : call.arguments.named) {
    if (name == "attribute") path = value;
    if (name == "default") fallback = value;
  }
  const std::vector<Value>& positional = call.arguments.positional;
  if (path.is(Kind::kUndefined) && (positional.empty() || !positional[0].is(Kind::kString))) {
    return bad_argument("it needs the name of a filter, or attribute=");
  }
  ListBuilder out(call.heap, Shape::kGenerator);
  for (const Value& input : inputs) {
    Value mapped;
    if (!path.is(Kind::kUndefined)) {
      INFER_ASSIGN(mapped, item_at_path(input, path, call.evaluator));
      if (mapped.is(Kind::kUndefined)) mapped = fallback;
    } else {
      INFER_ASSIGN(mapped,
                   call.evaluator.apply_filter(positional[0].text().bytes(), input, rest_of(call.arguments, 1)));
    }
    out.push(mapped);
  }
  return out.finish();
}

// select('test', ...), selectattr('attribute', 'test', ...) and their opposites; without a test, what is true.
Result<Value> choose(Invocation& call, bool by_attribute, bool wanted) {
  const std::vector<Value>& positional = call.arguments.positional;
  const size_t test = by_attribute ? 1 : 0;
  if (positional.size() < test) return bad_argument("it needs the name of an attribute");
  const bool has_test = positional.size() > test;
  if (has_test && !positional[test].is(Kind::kString)) return bad_argument("the name of a test is no string");
  INFER_ASSIGN(const std::vector<Value> items, elements_of(call.self, call.heap));
  ListBuilder out(call.heap, Shape::kGenerator);
  for (const Value& item : items) {
    Value tested = item;
    if (by_attribute) {
      INFER_ASSIGN(tested, item_at_path(item, positional[0], call.evaluator));
    }
    bool holds = truth(tested);
    if (has_test) {
      INFER_ASSIGN(
          holds, call.evaluator.apply_test(positional[test].text().bytes(), tested, rest_of(call.arguments, test + 1)));
    }
    if (holds == wanted) out.push(item);
  }
  return out.finish();
}
Result<Value> select(Invocation& call) { return choose(call, false, true); }
Result<Value> reject(Invocation& call) { return choose(call, false, false); }
Result<Value> selectattr(Invocation& call) { return choose(call, true, true); }
Result<Value> rejectattr(Invocation& call) { return choose(call, true, false); }

constexpr BuiltinFunction kRows[] = {
    {"length", length},
    {"count", length},
    {"first", first},
    {"last", last},
    {"list", list},
    {"reverse", reverse},
    {"sort", sort, {"reverse", "case_sensitive", "attribute"}},
    {"dictsort", dictsort, {"case_sensitive", "by", "reverse"}},
    {"unique", unique, {"case_sensitive", "attribute"}},
    {"min", smallest, {"case_sensitive", "attribute"}},
    {"max", largest, {"case_sensitive", "attribute"}},
    {"sum", sum, {"attribute", "start"}},
    {"batch", batch, {"linecount", "fill_with"}, 1},
    {"items", items},
    {"map", map, {}, 0, true},
    {"select", select, {}, 0, true},
    {"reject", reject, {}, 0, true},
    {"selectattr", selectattr, {}, 0, true},
    {"rejectattr", rejectattr, {}, 0, true},
};

}  // namespace

BuiltinTable sequence_filters() { return kRows; }

}  // namespace infer::jinja
