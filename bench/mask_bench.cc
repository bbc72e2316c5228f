// The tokens that a JSON grammar allows at typical places of a text: cold (a fresh automaton) and cached.
//
// Vocabularies: those below INFEROS_TEST_DATA (32k and 65k tokens) and one of 150k, which is all of them joined and
// filled up with pairs of their tokens. Without that variable, and for smoke, pairs of bytes.
#include <cstdlib>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/format.h"
#include "base/log.h"
#include "base/rng.h"
#include "engine/vocabulary_trie.h"
#include "gguf/file.h"
#include "grammar/json_rules.h"
#include "grammar/token_automaton.h"
#include "kernel_benchmarks.h"
#include "os/system_clock.h"
#include "tokenizer/tokenizer.h"

namespace infer::bench {
namespace {

using grammar::Constraint;
using grammar::TokenAutomaton;
using grammar::TokenTrie;

struct Vocabulary {
  std::string name;
  std::shared_ptr<const TokenTrie> trie;
};

Vocabulary vocabulary_of(const std::string& name, const std::vector<std::string>& pieces) {
  const std::vector<TokenId> ends{static_cast<TokenId>(pieces.size())};
  return {name, std::make_shared<const TokenTrie>(TokenTrie::build(
                    static_cast<int>(pieces.size()) + 1,
                    [&](TokenId token) {
                      const auto t = static_cast<size_t>(token);
                      return t < pieces.size() ? pieces[t] : "";
                    },
                    ends))};
}

std::vector<Vocabulary> vocabularies(Size size) {
  std::vector<Vocabulary> made;
  std::set<std::string> all;
  const char* const folder = std::getenv("INFEROS_TEST_DATA");
  if (size == Size::kFull && folder) {
    for (const char* const name : {"llama-spm", "falcon", "gpt-2", "gpt-neox", "starcoder", "deepseek-coder"}) {
      auto file = gguf::File::open(std::string(folder) + "/vocab/" + name + ".gguf");
      INFER_CHECK(file.has_value());
      NullLog log;
      const auto tokenizer = tokenizer::Tokenizer::from_gguf(**file, log);
      INFER_CHECK(tokenizer.has_value());
      if (made.size() < 2) made.push_back({name, engine::make_vocabulary_trie(**tokenizer)});
      for (TokenId id = 0; id < (*tokenizer)->vocabulary_size(); ++id) all.insert((*tokenizer)->piece(id, false));
    }
  }
  for (int byte = 0; byte < 256; ++byte) all.insert(std::string(1, static_cast<char>(byte)));
  all.erase("");
  std::vector<std::string> pieces(all.begin(), all.end());
  const auto own = static_cast<uint32_t>(pieces.size());
  Rng rng(1);
  const size_t count = size == Size::kFull ? 150'000 : 600;
  while (pieces.size() < count) pieces.push_back(pieces[rng.below(own)] + pieces[rng.below(own)]);
  made.push_back(vocabulary_of(format("{}k", count / 1000), pieces));
  return made;
}

void measure(benchmark::State& state, const Vocabulary& vocabulary, const std::string& text, bool cold) {
  const grammar::RootedRules rules = grammar::any_json_object();
  auto compiled = grammar::Grammar::compile(rules.rules, rules.root);
  INFER_CHECK(compiled.has_value());
  const auto grammar = std::make_shared<const grammar::Grammar>(*std::move(compiled));
  const os::SystemClock clock;
  const CallContext call{clock, Deadline::never(), {}};
  const auto make = [&] {
    auto constraint = std::make_unique<Constraint>(std::make_shared<TokenAutomaton>(grammar, vocabulary.trie));
    for (const char byte : text) {
      TokenId token = 0;
      while (vocabulary.trie->piece(token) != std::string_view(&byte, 1)) ++token;
      INFER_CHECK(constraint->accept(token));
    }
    return constraint;
  };
  auto constraint = make();
  for (auto _ : state) {
    if (cold) {
      state.PauseTiming();
      constraint = make();
      state.ResumeTiming();
    }
    auto mask = constraint->allowed(call);
    INFER_CHECK(mask.has_value());
    benchmark::DoNotOptimize(*mask);
  }
}

}  // namespace

void register_masks(Size size) {
  for (const Vocabulary& vocabulary : vocabularies(size)) {
    for (const auto& [place, text] : {std::pair("start", ""), std::pair("string", "{\"a\":\"b"),
                                      std::pair("value", "{\"a\":"), std::pair("number", "{\"a\":1")}) {
      for (const bool cold : {true, false}) {
        add_benchmark(
            format("Mask/{}/{}/{}", vocabulary.name, place, cold ? "cold" : "cached"), size,
            [=, text = std::string(text)](benchmark::State& state) { measure(state, vocabulary, text, cold); });
      }
    }
  }
}

}  // namespace infer::bench
