#include "grammar/token_automaton.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace infer::grammar {

TokenAutomaton::TokenAutomaton(std::shared_ptr<const Grammar> grammar, std::shared_ptr<const TokenTrie> trie)
    : grammar_(std::move(grammar)), trie_(std::move(trie)), automaton_(grammar_) {}

TokenAutomaton::Slot TokenAutomaton::take_slot(StateId state) {
  if (free_slots_.empty()) {
    slots_.push_back(state);
    return static_cast<Slot>(slots_.size() - 1);
  }
  const Slot slot = free_slots_.back();
  free_slots_.pop_back();
  slots_[slot] = state;
  return slot;
}

void TokenAutomaton::give_slot(Slot slot) {
  slots_[slot] = kDeadState;
  free_slots_.push_back(slot);
}

// Keeps what the constraints hold and the states of `path`.
void TokenAutomaton::collect_if_full(std::span<StateId> path) {
  if (!automaton_.wants_collection()) return;
  std::vector<StateId> kept(slots_);
  kept.insert(kept.end(), path.begin(), path.end());
  automaton_.collect(kept);
  std::copy_n(kept.begin(), slots_.size(), slots_.begin());
  std::copy(kept.begin() + static_cast<ptrdiff_t>(slots_.size()), kept.end(), path.begin());
  mask_of_state_.clear();
  masks_.clear();
}

StateId TokenAutomaton::after(Slot slot, TokenId token) {
  const std::string_view bytes = trie_->piece(token);
  if (bytes.empty()) return kDeadState;
  path_.assign(1, slots_[slot]);
  for (const char byte : bytes) {
    if (!automaton_.is_known(path_[0], static_cast<uint8_t>(byte))) collect_if_full(path_);
    path_[0] = automaton_.advance(path_[0], static_cast<uint8_t>(byte));
    if (path_[0] == kDeadState) break;
  }
  return path_[0];
}

Result<const TokenMask*> TokenAutomaton::mask(Slot slot, const CallContext& call) {
  collect_if_full({});
  const StateId state = automaton_.simplified(slots_[slot], trie_->longest());
  if (const auto found = mask_of_state_.find(state); found != mask_of_state_.end()) {
    masks_.splice(masks_.begin(), masks_, found->second);
    return &masks_.front().mask;
  }
  // The walk may collect, which renames states: then this slot keeps the state's new name.
  const Slot kept = take_slot(state);
  Result<TokenMask> computed = compute_mask(state, call);
  const StateId name = slots_[kept];
  give_slot(kept);
  if (!computed) return std::move(computed).error();
  const size_t masks_max = std::max<size_t>(kMaskBytesKept / (computed->words().size_bytes() + sizeof(Kept)), 4);
  while (masks_.size() >= masks_max) {
    mask_of_state_.erase(masks_.back().state);
    masks_.pop_back();
  }
  masks_.push_front({name, *std::move(computed)});
  mask_of_state_[name] = masks_.begin();
  return &masks_.front().mask;
}

Result<TokenMask> TokenAutomaton::compute_mask(StateId state, const CallContext& call) {
  const bool may_end = automaton_.may_end(state);
  INFER_TRY(walk(state, call));
  TokenMask mask = mask_of_refused();
  if (may_end) {
    for (const TokenId token : trie_->ends()) mask.add(token);
  }
  return mask;
}

// The groups of bytes all of which lead from the state to itself.
uint64_t TokenAutomaton::looping_groups(StateId state) {
  uint64_t looping = ~uint64_t{0};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    const auto b = static_cast<uint8_t>(byte);
    if (automaton_.advance(state, b) != state) looping &= ~(uint64_t{1} << TokenTrie::byte_group(b));
  }
  return looping;
}

// Fills refused_.
Status TokenAutomaton::walk(StateId state, const CallContext& call) {
  constexpr uint64_t kWorkBetweenChecks = uint64_t{1} << 15;
  const auto nodes = trie_->nodes();
  const auto count = static_cast<uint32_t>(trie_->node_count());
  refused_.clear();
  path_.assign(size_t{trie_->longest()} + 1, kDeadState);
  path_[0] = state;
  const uint64_t looping = looping_groups(state);
  uint64_t work = 0, checked = 0;
  for (uint32_t i = 1; i < count;) {
    const TokenTrie::Node& node = nodes[i];
    StateId* const parent = &path_[node.depth - 1u];
    if (!automaton_.is_known(*parent, node.byte)) {
      collect_if_full(std::span(path_).first(node.depth));
      if (work - checked >= kWorkBetweenChecks) {
        INFER_TRY(call.check("finding the tokens that the grammar allows"));
        checked = work;
      }
    }
    const StateId next = automaton_.advance(*parent, node.byte);
    if (next == kDeadState) {
      const PlaceRange range{node.first_place, nodes[node.end].first_place};
      if (!refused_.empty() && refused_.back().end == range.begin) {
        refused_.back().end = range.end;
      } else {
        refused_.push_back(range);
      }
      i = node.end;
      continue;
    }
    work += automaton_.work(next) + 1;
    if (work > kMaskWorkMax) {
      return Error{ErrorCode::kExhausted,
                   "the grammar is so ambiguous that the tokens which it allows take too long to "
                   "find: remove alternatives that match the same text"};
    }
    path_[node.depth] = next;
    // Bytes that all lead back to where the walk began need not be looked at one by one.
    i = next == path_[0] && (node.groups_below & ~looping) == 0 ? node.end : i + 1;
  }
  return {};
}

TokenMask TokenAutomaton::mask_of_refused() const {
  const auto tokens = trie_->tokens();
  size_t refused = 0;
  for (const PlaceRange& range : refused_) refused += range.end - range.begin;
  // Whichever are fewer are named.
  if (refused <= tokens.size() / 2) {
    TokenMask mask = trie_->all();
    for (const PlaceRange& range : refused_) {
      for (uint32_t place = range.begin; place < range.end; ++place) mask.remove(tokens[place]);
    }
    return mask;
  }
  TokenMask mask(trie_->all().size());
  uint32_t place = 0;
  for (const PlaceRange& range : refused_) {
    for (; place < range.begin; ++place) mask.add(tokens[place]);
    place = range.end;
  }
  for (; place < tokens.size(); ++place) mask.add(tokens[place]);
  return mask;
}

// ---- Constraint -----------------------------------------------------------------------------------------------------

Constraint::Constraint(std::shared_ptr<TokenAutomaton> automaton) : automaton_(std::move(automaton)) {
  slot_ = automaton_->take_slot(automaton_->automaton_.start());
}

Constraint::Constraint(const Constraint& other) : automaton_(other.automaton_) {
  slot_ = automaton_->take_slot(automaton_->slots_[other.slot_]);
}

Constraint& Constraint::operator=(const Constraint& other) {
  if (this != &other) *this = Constraint(other);
  return *this;
}

Constraint::Constraint(Constraint&& other) noexcept
    : automaton_(std::move(other.automaton_)), slot_(std::exchange(other.slot_, 0)) {}

Constraint& Constraint::operator=(Constraint&& other) noexcept {
  std::swap(automaton_, other.automaton_);
  std::swap(slot_, other.slot_);
  return *this;
}

Constraint::~Constraint() {
  if (automaton_) automaton_->give_slot(slot_);
}

bool Constraint::allows(TokenId token) {
  if (token < 0 || token >= automaton_->trie_->vocabulary_size()) return false;
  if (automaton_->trie_->ends_text(token)) return may_end();
  return automaton_->after(slot_, token) != kDeadState;
}

Result<const TokenMask*> Constraint::allowed(const CallContext& call) { return automaton_->mask(slot_, call); }

bool Constraint::accept(TokenId token) {
  if (token < 0 || token >= automaton_->trie_->vocabulary_size()) return false;
  if (automaton_->trie_->ends_text(token)) return may_end();
  const StateId next = automaton_->after(slot_, token);
  if (next == kDeadState) return false;
  automaton_->slots_[slot_] = next;
  return true;
}

bool Constraint::may_end() const { return automaton_->automaton_.may_end(automaton_->slots_[slot_]); }

bool Constraint::must_end() const {
  const StateId state = automaton_->slots_[slot_];
  return automaton_->automaton_.may_end(state) && !automaton_->automaton_.may_go_on(state);
}

}  // namespace infer::grammar
