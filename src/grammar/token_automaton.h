// Which tokens may come next: a grammar's automaton walked over the tree of a vocabulary, with the masks of the states
// that come again.
//
// Shared by all sequences that follow the same grammar with the same vocabulary; each has a Constraint.
// A token is allowed when its bytes lead to a state that is not dead; its bytes may begin or end inside of a character.
// Tokens that end a text are allowed where the grammar may end, and only there; tokens without bytes never.
// Memory: the automaton's bound, and kMaskBytesKept of masks, the least recently used of which go first.
// Ownership: shares grammar and tree. Thread safety: one thread, the one that samples.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <unordered_map>
#include <vector>

#include "base/call_context.h"
#include "base/result.h"
#include "grammar/automaton.h"
#include "grammar/grammar.h"
#include "grammar/token_mask.h"
#include "grammar/token_trie.h"

namespace infer::grammar {

class TokenAutomaton {
 public:
  static constexpr size_t kMaskBytesKept = size_t{4} << 20;
  // Moves of the machine for one mask; a plain grammar needs a thousandth of it.
  static constexpr uint64_t kMaskWorkMax = uint64_t{1} << 26;

  TokenAutomaton(std::shared_ptr<const Grammar> grammar, std::shared_ptr<const TokenTrie> trie);
  TokenAutomaton(const TokenAutomaton&) = delete;
  TokenAutomaton& operator=(const TokenAutomaton&) = delete;

  const TokenTrie& trie() const { return *trie_; }

 private:
  friend class Constraint;

  // States of constraints are named by slots, as ids change when the automaton forgets.
  using Slot = uint32_t;
  Slot take_slot(StateId state);
  void give_slot(Slot slot);
  void collect_if_full(std::span<StateId> path);

  // The state behind a token's bytes from the slot's state, kDeadState when it is not allowed.
  StateId after(Slot slot, TokenId token);
  Result<const TokenMask*> mask(Slot slot, const CallContext& call);
  Result<TokenMask> compute_mask(StateId state, const CallContext& call);
  Status walk(StateId state, const CallContext& call);
  uint64_t looping_groups(StateId state);
  TokenMask mask_of_refused() const;

  struct Kept {
    StateId state = 0;
    TokenMask mask;
  };

  std::shared_ptr<const Grammar> grammar_;
  std::shared_ptr<const TokenTrie> trie_;
  Automaton automaton_;
  std::vector<StateId> slots_;
  std::vector<Slot> free_slots_;
  std::list<Kept> masks_;  // Most recently used first.
  std::unordered_map<StateId, std::list<Kept>::iterator> mask_of_state_;

  struct PlaceRange {
    uint32_t begin = 0;
    uint32_t end = 0;
  };
  std::vector<StateId> path_;        // While a mask is computed: the states along the branch of the tree,
  std::vector<PlaceRange> refused_;  // and what is refused, ascending.
};

// Where one sequence is in its grammar. A copy goes its own way from there.
class Constraint {
 public:
  explicit Constraint(std::shared_ptr<TokenAutomaton> automaton);
  Constraint(const Constraint& other);
  Constraint& operator=(const Constraint& other);
  Constraint(Constraint&& other) noexcept;
  Constraint& operator=(Constraint&& other) noexcept;
  ~Constraint();

  // One token only: microseconds, without a mask.
  bool allows(TokenId token);
  // All tokens that may come next; empty when none may (a text that no token of the vocabulary continues). Valid until
  // the next call of anything that shares the automaton. kDeadline or kCancelled as the call says; kExhausted: the
  // grammar is too ambiguous.
  Result<const TokenMask*> allowed(const CallContext& call);
  // The token is now part of the text. False, and nothing changed, when it is not allowed. A token that ends the text
  // changes nothing.
  bool accept(TokenId token);
  // The text so far belongs to the grammar.
  bool may_end() const;
  // It does, and nothing may follow.
  bool must_end() const;

 private:
  std::shared_ptr<TokenAutomaton> automaton_;
  TokenAutomaton::Slot slot_ = 0;
};

}  // namespace infer::grammar
