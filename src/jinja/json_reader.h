// JSON text as values of a template: tools and arguments of tool calls, as Python's json.loads reads them.
// Thread safety: that of the heap.
#pragma once

#include <string_view>

#include "base/result.h"
#include "jinja/heap.h"
#include "jinja/value.h"

namespace infer::jinja {

// kCorrupt with the byte where the text breaks JSON's grammar; kExhausted beyond the heap's limits. Strings and keys
// get the origin; of a key that occurs twice the last value stays. Whole numbers beyond 64 bits become floats.
Result<Value> read_json(std::string_view text, Origin origin, Heap& heap);

}  // namespace infer::jinja
