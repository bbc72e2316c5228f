#include "app/answer_grammar.h"

#include "api/json.h"
#include "api/json_schema.h"
#include "app/loading.h"
#include "grammar/gbnf.h"
#include "grammar/json_rules.h"

namespace infer::app {
namespace {

// Whether an argument is what it says rather than the name of a file that says it.
bool is_grammar_text(std::string_view given) { return given.find("::=") != std::string_view::npos; }
bool is_schema_text(std::string_view given) {
  const size_t first = given.find_first_not_of(" \t\r\n");
  return first != std::string_view::npos && (given[first] == '{' || given == "true" || given == "false");
}

Result<grammar::RootedRules> rules_of_schema_text(std::string_view text) {
  INFER_ASSIGN(const api::Json schema, api::Json::parse(text));
  return api::rules_of_schema(schema);
}

Result<grammar::Grammar> compile(std::string_view text, bool is_schema) {
  INFER_ASSIGN(const grammar::RootedRules made, is_schema ? rules_of_schema_text(text) : grammar::parse_gbnf(text));
  return grammar::Grammar::compile(made.rules, made.root);
}

Result<grammar::Grammar> read(const std::string& given, bool is_schema) {
  const bool is_text = is_schema ? is_schema_text(given) : is_grammar_text(given);
  std::string text = given;
  if (!is_text) {
    INFER_ASSIGN(text, read_text({.text = std::nullopt, .file = given}, false));
  }
  Result<grammar::Grammar> made = compile(text, is_schema);
  if (made) return made;
  const ErrorCode code = is_text ? ErrorCode::kInvalidArgument : ErrorCode::kCorrupt;
  return Error{code, std::move(made).error().message}.with_context(is_text ? is_schema ? "--json-schema" : "--grammar"
                                                                           : given);
}

}  // namespace

Result<std::shared_ptr<const grammar::Grammar>> read_answer_grammar(const GrammarChoice& choice) {
  using Shared = std::shared_ptr<const grammar::Grammar>;
  if (choice.json_object) {
    const grammar::RootedRules made = grammar::any_json_object();
    INFER_ASSIGN(grammar::Grammar compiled, grammar::Grammar::compile(made.rules, made.root));
    return Shared(std::make_shared<const grammar::Grammar>(std::move(compiled)));
  }
  if (!choice.gbnf && !choice.json_schema) return Shared();
  INFER_ASSIGN(grammar::Grammar compiled, choice.gbnf ? read(*choice.gbnf, false) : read(*choice.json_schema, true));
  return Shared(std::make_shared<const grammar::Grammar>(std::move(compiled)));
}

}  // namespace infer::app
