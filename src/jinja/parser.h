// Parses a template: text, {{ expressions }} and the statements if, for, set, macro, call, filter, with, break,
// continue and generation. What a template would load from elsewhere (include, import, extends, block) is refused.
// Thread safety: a pure function.
#pragma once

#include <string_view>

#include "base/result.h"
#include "jinja/syntax_tree.h"

namespace infer::jinja {

// kCorrupt: broken syntax; kUnsupported: a statement that is not known here; kExhausted: too large or too deep.
// Messages begin with line and column.
Result<Syntax> parse(std::string_view source, size_t source_bytes_max);

}  // namespace infer::jinja
