// The grammars that requests follow, compiled once for all that ask for the same: what one found out about which tokens
// may come next serves the others.
//
// The least recently used are forgotten; requests that follow one keep it. Ownership: shares the vocabulary's tree.
// Thread safety: get() from any thread; what it gives is for one engine's thread, requests hand it there.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/result.h"
#include "grammar/grammar.h"
#include "grammar/token_automaton.h"
#include "grammar/token_trie.h"

namespace infer::engine {

class GrammarCache {
 public:
  // Keeps at most `kept_max` grammars, at least one.
  GrammarCache(std::shared_ptr<const grammar::TokenTrie> trie, size_t kept_max);

  // source: all that decides what `compile` makes, its kind too. compile runs on the caller's thread, without a lock;
  // its errors are handed on and not remembered.
  using Compile = std::function<Result<grammar::Grammar>()>;
  Result<std::shared_ptr<grammar::TokenAutomaton>> get(std::string_view source, const Compile& compile);

 private:
  struct Kept {
    std::string source;
    std::shared_ptr<grammar::TokenAutomaton> automaton;
  };

  std::shared_ptr<grammar::TokenAutomaton> find(std::string_view source);

  const std::shared_ptr<const grammar::TokenTrie> trie_;
  const size_t kept_max_;
  std::mutex mutex_;
  std::list<Kept> kept_;                                                   // Most recently used first. Guarded by
  std::unordered_map<std::string_view, std::list<Kept>::iterator> known_;  // mutex_, both.
};

}  // namespace infer::engine
