// Values as JSON, byte for byte as Python's json.dumps writes them with Hugging Face's defaults: ", " and ": " between
// items, characters beyond ASCII as they are.
// Thread safety: that of the heap.
#pragma once

#include <optional>
#include <string>

#include "base/result.h"
#include "jinja/heap.h"
#include "jinja/value.h"

namespace infer::jinja {

struct JsonStyle {
  bool ensure_ascii = false;
  bool sort_keys = false;
  std::optional<std::string> indent;  // Of one level; then every item stands on a line of its own.
  std::string item_separator = ", ";
  std::string key_separator = ": ";
};

// kInvalidArgument for what JSON has no form for. Text keeps its origin; what stands around it is the template's.
Result<Value> json_text(const Value& value, const JsonStyle& style, Heap& heap);

}  // namespace infer::jinja
