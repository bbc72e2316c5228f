// Walks through the grammars of JSON schemas. Reads one JSON document per line:
//   {"schema": ..., "judge": ["text", ...], "walks": 3, "seed": 1}
// and answers each with one line:
//   {"error": "..."} or {"accepted": [true, ...], "texts": ["...", ...]}
// A walk takes a random byte of those that are allowed until the text may end; one that becomes too long is left out.
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "api/json.h"
#include "api/json_schema.h"
#include "base/rng.h"
#include "grammar/automaton.h"
#include "grammar/grammar.h"

namespace infer {
namespace {

constexpr size_t kTextBytesMax = 4000;

std::optional<std::string> walk(grammar::Automaton& automaton, Rng& rng) {
  std::string text;
  grammar::StateId state = automaton.start();
  while (text.size() < kTextBytesMax) {
    if (automaton.may_end(state) && (!automaton.may_go_on(state) || rng.below(3) == 0)) return text;
    std::vector<uint8_t> allowed, closing;
    for (uint32_t byte = 0; byte < 256; ++byte) {
      const auto b = static_cast<uint8_t>(byte);
      if (automaton.advance(state, b) == grammar::kDeadState) continue;
      allowed.push_back(b);
      if (b == '"' || b == ']' || b == '}') closing.push_back(b);
    }
    if (allowed.empty()) return "\xFF dead end behind " + text;
    const std::vector<uint8_t>& choice = !closing.empty() && rng.below(3) == 0 ? closing : allowed;
    const uint8_t byte = choice[rng.below(static_cast<uint32_t>(choice.size()))];
    text += static_cast<char>(byte);
    state = automaton.advance(state, byte);
  }
  return std::nullopt;
}

Result<api::Json> answer(const std::string& line) {
  INFER_ASSIGN(const api::Json request, api::Json::parse(line));
  INFER_ASSIGN(const grammar::RootedRules made, api::rules_of_schema(*request.find("schema")));
  INFER_ASSIGN(grammar::Grammar compiled, grammar::Grammar::compile(made.rules, made.root));
  grammar::Automaton automaton(std::make_shared<const grammar::Grammar>(std::move(compiled)));
  api::Json accepted = api::Json::array(), texts = api::Json::array();
  for (const api::Json& text : request.find("judge")->elements()) {
    const grammar::StateId state = automaton.advance(automaton.start(), *text.as_string());
    accepted.push(state != grammar::kDeadState && automaton.may_end(state));
  }
  Rng rng(static_cast<uint64_t>(*request.find("seed")->as_int()));
  for (int64_t i = *request.find("walks")->as_int(); i > 0; --i) {
    if (const auto text = walk(automaton, rng)) texts.push(*text);
  }
  return api::Json::object().set("accepted", std::move(accepted)).set("texts", std::move(texts));
}

}  // namespace
}  // namespace infer

int main() {
  for (std::string line; std::getline(std::cin, line);) {
    infer::Result<infer::api::Json> reply = infer::answer(line);
    if (!reply) reply = infer::api::Json::object().set("error", reply.error().message);
    std::cout << reply->dump() << std::endl;
  }
  return 0;
}
