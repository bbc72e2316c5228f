#include "engine/grammar_cache.h"

#include <utility>

#include "base/check.h"

namespace infer::engine {

GrammarCache::GrammarCache(std::shared_ptr<const grammar::TokenTrie> trie, size_t kept_max)
    : trie_(std::move(trie)), kept_max_(kept_max) {
  INFER_CHECK(kept_max > 0);
}

// mutex_ is held.
std::shared_ptr<grammar::TokenAutomaton> GrammarCache::find(std::string_view source) {
  const auto found = known_.find(source);
  if (found == known_.end()) return nullptr;
  kept_.splice(kept_.begin(), kept_, found->second);
  return kept_.front().automaton;
}

Result<std::shared_ptr<grammar::TokenAutomaton>> GrammarCache::get(std::string_view source, const Compile& compile) {
  {
    const std::lock_guard lock(mutex_);
    if (auto known = find(source)) return known;
  }
  INFER_ASSIGN(grammar::Grammar compiled, compile());
  auto automaton =
      std::make_shared<grammar::TokenAutomaton>(std::make_shared<const grammar::Grammar>(std::move(compiled)), trie_);
  std::list<Kept> forgotten;  // Let go without the lock.
  const std::lock_guard lock(mutex_);
  if (auto known = find(source)) return known;  // Somebody else was quicker.
  kept_.push_front({std::string(source), std::move(automaton)});
  known_[kept_.front().source] = kept_.begin();
  if (kept_.size() > kept_max_) {
    known_.erase(kept_.back().source);
    forgotten.splice(forgotten.begin(), kept_, std::prev(kept_.end()));
  }
  return kept_.front().automaton;
}

}  // namespace infer::engine
