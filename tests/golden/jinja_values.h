// JSON documents as values of a template, for the tests that compare with Jinja 2.
#pragma once

#include "api/json.h"
#include "jinja/heap.h"

namespace infer::testing {

// Strings are marked as input, keys as the template's.
inline jinja::Value jinja_value(const api::Json& json, jinja::Heap& heap) {
  if (json.is_null()) return jinja::Value::none();
  if (json.is_array()) {
    jinja::ListBuilder list(heap);
    for (const api::Json& element : json.elements()) list.push(jinja_value(element, heap));
    return list.finish();
  }
  if (json.is_object()) {
    jinja::DictBuilder dict(heap);
    for (const auto& [key, value] : json.members()) dict.add(key, jinja_value(value, heap));
    return dict.finish();
  }
  if (const auto boolean = json.as_bool()) return jinja::Value::of(*boolean);
  if (const auto text = json.as_string()) return heap.string(*text, jinja::Origin::kInput);
  const auto whole = json.as_int();
  return whole && !json.is_float() ? jinja::Value::of(*whole) : jinja::Value::of(*json.as_double());
}

}  // namespace infer::testing
