// Values as JSON, byte for byte as Python's json.dumps writes them with Hugging Face's defaults: ", " and ": " between
// items, characters beyond ASCII as they are.
// Thread safety: that of the heap.
#pragma once

#include <optional>

#include "base/result.h"
#include "jinja/heap.h"
#include "jinja/text.h"
#include "jinja/value.h"

namespace infer::jinja {

struct JsonStyle {
  bool ensure_ascii = false;
  bool sort_keys = false;
  std::optional<Text> indent;  // Of one level; then every item stands on a line of its own.
  Text item_separator{", ", Origin::kTemplate};
  Text key_separator{": ", Origin::kTemplate};
};

// kInvalidArgument for what JSON has no form for. Text keeps its origin, that of a style too; what else stands around
// it is the template's.
Result<Value> json_text(const Value& value, const JsonStyle& style, Heap& heap);

}  // namespace infer::jinja
