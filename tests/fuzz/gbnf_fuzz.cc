// Fuzzes the GBNF reader and the machine behind it. The input is a grammar, a zero byte, and a text that is read with
// it: any answer is fine, but in bounded time, and what is not dead must be able to go on or end.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/check.h"
#include "grammar/automaton.h"
#include "grammar/gbnf.h"
#include "grammar/grammar.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace infer::grammar;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t end = std::min(input.find('\0'), input.size());
  const auto rules = parse_gbnf(input.substr(0, end));
  if (!rules) {
    INFER_CHECK(rules.error().message.find("line ") != std::string::npos);
    return 0;
  }
  auto compiled = Grammar::compile(rules->rules, rules->root);
  if (!compiled) {
    INFER_CHECK(!compiled.error().message.empty());
    return 0;
  }
  Automaton automaton(std::make_shared<const Grammar>(*std::move(compiled)));
  StateId state = automaton.start();
  for (const char byte : input.substr(std::min(end + 1, input.size()))) {
    if (automaton.wants_collection()) automaton.collect(std::span(&state, 1));
    state = automaton.advance(state, static_cast<uint8_t>(byte));
    if (state == kDeadState) return 0;
    INFER_CHECK(automaton.may_go_on(state) || automaton.may_end(state));
    INFER_CHECK(automaton.simplified(state, 64) != kDeadState);
  }
  return 0;
}
