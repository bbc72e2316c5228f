// Python's "%s is %d" % values.
// Thread safety: that of the heap.
#pragma once

#include "base/result.h"
#include "jinja/heap.h"
#include "jinja/value.h"

namespace infer::jinja {

// `arguments`: one value, a tuple of them, or a dict for %(name)s. Conversions s, r, d, i, u, f, x, X and %, with
// width, precision and the flags - 0 +.
Result<Value> percent_format(const Text& pattern, const Value& arguments, Heap& heap);

}  // namespace infer::jinja
