// Renders templates for compare_templates: a JSON object {"template", "variables", "now"} on each line of standard
// input gives one on standard output, {"text"} or {"error"}. `now` is in milliseconds since 1970.
#include <iostream>
#include <string>

#include "api/json.h"
#include "jinja/template.h"
#include "jinja_values.h"

namespace infer {
namespace {

Result<std::string> render(const api::Json& line) {
  INFER_ASSIGN(const jinja::Template parsed, jinja::Template::parse(*line.find("template")->as_string()));
  jinja::Heap heap{jinja::Limits()};
  const jinja::Value variables = testing::jinja_value(*line.find("variables"), heap);
  INFER_ASSIGN(const jinja::Text text, parsed.render(variables, heap, {line.find("now")->as_int().value_or(0)}));
  return text.bytes();
}

}  // namespace
}  // namespace infer

int main() {
  std::string line;
  while (std::getline(std::cin, line)) {
    const auto document = infer::api::Json::parse(line);
    const auto text = document ? infer::render(*document) : infer::Result<std::string>(document.error());
    auto answer = infer::api::Json::object();
    text ? answer.set("text", *text) : answer.set("error", text.error().message);
    std::cout << answer.dump() << std::endl;
  }
  return 0;
}
