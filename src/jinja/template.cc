#include "jinja/template.h"

#include <algorithm>

#include "jinja/evaluator.h"
#include "jinja/parser.h"

namespace infer::jinja {

Result<Template> Template::parse(std::string_view source) {
  INFER_ASSIGN(Syntax syntax, jinja::parse(source, Limits().template_bytes));
  return Template(std::move(syntax));
}

Result<Text> Template::render(const Value& variables, Heap& heap, WallTime now) const {
  return Evaluator(syntax_, heap, now).render(variables);
}

bool Template::mentions(std::string_view name) const {
  return std::find(syntax_.names.begin(), syntax_.names.end(), name) != syntax_.names.end();
}

}  // namespace infer::jinja
