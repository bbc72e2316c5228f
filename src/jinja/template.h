// A Jinja template as chat models carry it: parsed once, rendered many times.
//
// What is understood is Jinja 2 with the settings of Hugging Face's apply_chat_template, less what loads other files
// (docs/formats/chat_templates.md). A rendering is bounded by jinja/limits.h in time and memory whatever the template
// and the values are. Thread safety: const after parsing, shared freely; a Heap belongs to one rendering. Ownership:
// owns its syntax tree.
#pragma once

#include <memory>
#include <string_view>

#include "base/result.h"
#include "base/time.h"
#include "jinja/heap.h"
#include "jinja/limits.h"
#include "jinja/syntax_tree.h"
#include "jinja/text.h"
#include "jinja/value.h"

namespace infer::jinja {

class Template {
 public:
  // kCorrupt, kUnsupported or kExhausted, with line and column.
  static Result<Template> parse(std::string_view source);

  // `variables`: a dict made in `heap`, which holds all values of this rendering. `now`: for strftime_now, told in UTC.
  // kInvalidArgument: the template refuses these values, or does with them what cannot be done; kUnsupported: it uses
  // something that is not known here; kExhausted: a limit. All with line and column.
  Result<Text> render(const Value& variables, Heap& heap, WallTime now) const;

  // Whether the template looks at a variable of that name.
  bool mentions(std::string_view name) const;

 private:
  explicit Template(Syntax syntax) : syntax_(std::move(syntax)) {}

  Syntax syntax_;
};

}  // namespace infer::jinja
