// Fuzzes the schema compiler: any JSON document as a schema gives a grammar or an error that names a place, in bounded
// time; the grammar's machine can take a step.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "api/json.h"
#include "api/json_schema.h"
#include "base/check.h"
#include "grammar/automaton.h"
#include "grammar/grammar.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace infer;
  const auto schema = api::Json::parse(std::string_view(reinterpret_cast<const char*>(data), size));
  if (!schema) return 0;
  const auto rules = api::rules_of_schema(*schema);
  if (!rules) {
    INFER_CHECK(rules.error().message.starts_with("JSON schema, #"));
    return 0;
  }
  auto compiled = grammar::Grammar::compile(rules->rules, rules->root);
  if (!compiled) {
    INFER_CHECK(!compiled.error().message.empty());
    return 0;
  }
  grammar::Automaton automaton(std::make_shared<const grammar::Grammar>(*std::move(compiled)));
  const grammar::StateId start = automaton.start();
  INFER_CHECK(start == grammar::kDeadState || automaton.may_go_on(start));
  for (const char* const text : {"{\"a\":[1.5,", "[\"x\",", "-12e", "\"2024-0"}) (void)automaton.advance(start, text);
  return 0;
}
