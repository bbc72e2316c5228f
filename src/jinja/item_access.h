// "function.name" or 0: what the attribute argument of map, selectattr, sort and the like means.
// Thread safety: that of the evaluator.
#pragma once

#include "base/result.h"
#include "jinja/value.h"

namespace infer::jinja {

class Evaluator;

// Goes down from `value`, one item for each part between dots; parts of digits are indices.
Result<Value> item_at_path(const Value& value, const Value& path, Evaluator& evaluator);

}  // namespace infer::jinja
