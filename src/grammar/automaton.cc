#include "grammar/automaton.h"

#include <algorithm>

#include "base/hash.h"

namespace infer::grammar {

Automaton::Automaton(std::shared_ptr<const Grammar> grammar)
    : grammar_(std::move(grammar)),
      classes_(grammar_->byte_classes()),
      seen_(grammar_->nodes().size()),
      called_(grammar_->entries().size()) {
  add_dead();
}

void Automaton::add_dead() {
  states_.push_back({});
  steps_.assign(classes_, kDeadState);
}

StateId Automaton::start() {
  reach(grammar_->start(), StackTable::kBottomOnly);
  return finish_reaching();
}

StateId Automaton::advance(StateId state, std::string_view bytes) {
  for (const char byte : bytes) state = advance(state, static_cast<uint8_t>(byte));
  return state;
}

StateId Automaton::compute_step(StateId state, uint8_t byte) {
  const State from = states_[state];
  for (uint32_t i = from.begin; i < from.begin + from.count; ++i) {
    const Configuration configuration = configurations_[i];
    const Node& node = grammar_->nodes()[configuration.node];
    if (node.low <= byte && byte <= node.high) reach(node.next, configuration.stack);
  }
  const StateId next = finish_reaching();
  steps_[size_t{state} * classes_ + grammar_->byte_class(byte)] = next;
  return next;
}

void Automaton::reach(NodeId node, StackId stack) { waiting_.push_back({node, stack}); }

// Returns first, which may reach and call; then the procedures that were called, in an order in which each has got all
// its callers before it is entered. None of them returns before it has read a byte, so that nothing is added behind.
StateId Automaton::finish_reaching() {
  follow_waiting();
  while (!called_now_.empty()) {
    std::pop_heap(called_now_.begin(), called_now_.end(), later());
    const ProcedureId procedure = called_now_.back();
    called_now_.pop_back();
    const StackId stack = stacks_.intern(called_[procedure]);
    called_[procedure].clear();
    if (stacks_.depth(stack) <= StackTable::kDepthMax) {
      reach(grammar_->entries()[procedure], stack);
      follow_waiting();
    }
  }
  const StateId state = work_ <= kStepWorkMax ? intern(may_end_) : kDeadState;
  for (const NodeId node : seen_nodes_) seen_[node].clear();
  seen_nodes_.clear();
  reached_.clear();
  work_ = 0;
  may_end_ = false;
  return state;
}

void Automaton::follow_waiting() {
  while (!waiting_.empty()) {
    const Configuration next = waiting_.back();
    waiting_.pop_back();
    std::vector<StackId>& stacks = seen_[next.node];
    if (work_ > kStepWorkMax || std::find(stacks.begin(), stacks.end(), next.stack) != stacks.end()) continue;
    if (stacks.empty()) seen_nodes_.push_back(next.node);
    work_ += 1 + stacks.size() / 16;  // The search is part of it.
    stacks.push_back(next.stack);
    visit(next.node, next.stack);
  }
}

void Automaton::visit(NodeId id, StackId stack) {
  const Node& node = grammar_->nodes()[id];
  switch (node.kind) {
    case Node::Kind::kEnd: return_from(stack); return;
    case Node::Kind::kByte: reached_.push_back({id, stack}); return;
    case Node::Kind::kSplit:
      reach(node.other, stack);
      reach(node.next, stack);
      return;
    case Node::Kind::kCall:
      if (node.next == Grammar::kEndNode) {
        call_above(node.other, stack);
      } else {
        call(node.other, {.target = node.next, .below = stack});
      }
      return;
    case Node::Kind::kRepeat: {
      const Repetition& repetition = grammar_->repetitions()[node.other];
      reach_repetition(node.other, repetition.least, repetition.most, stack);
      return;
    }
  }
}

void Automaton::return_from(StackId stack) {
  for (size_t i = 0; i < stacks_.frames(stack).size(); ++i) {
    const Frame frame = stacks_.frames(stack)[i];
    if (frame.target == StackTable::kBottom) {
      may_end_ = true;
    } else if (++work_ > kStepWorkMax) {
      return;
    } else if ((frame.target & StackTable::kRepetitionBit) != 0) {
      reach_repetition(frame.target & ~StackTable::kRepetitionBit, frame.least, frame.most, frame.below);
    } else {
      reach(frame.target, frame.below);
    }
  }
}

// At the head of a repetition with so many rounds to go.
void Automaton::reach_repetition(uint32_t id, uint32_t least, uint32_t most, StackId stack) {
  const Repetition& repetition = grammar_->repetitions()[id];
  if (least == 0) reach(repetition.next, stack);
  if (most == 0) return;
  const uint32_t most_then = most == kUnbounded ? kUnbounded : most - 1;
  if (most_then > 0) {
    call(repetition.body, {.target = id | StackTable::kRepetitionBit,
                           .least = least > 0 ? least - 1 : 0,
                           .most = most_then,
                           .below = stack});
  } else if (repetition.next == Grammar::kEndNode) {
    call_above(repetition.body, stack);  // The last round.
  } else {
    call(repetition.body, {.target = repetition.next, .below = stack});
  }
}

void Automaton::call(ProcedureId procedure, const Frame& frame) {
  if (called_[procedure].empty()) {
    called_now_.push_back(procedure);
    std::push_heap(called_now_.begin(), called_now_.end(), later());
  }
  called_[procedure].push_back(frame);
  ++work_;
}

// A call with which nothing remains to be done: what it returns to is what its caller returns to.
void Automaton::call_above(ProcedureId procedure, StackId stack) {
  for (size_t i = 0; i < stacks_.frames(stack).size() && work_ <= kStepWorkMax; ++i) {
    call(procedure, stacks_.frames(stack)[i]);
  }
}

// The state of reached_, with one configuration for each node.
StateId Automaton::intern(bool may_end) {
  std::sort(reached_.begin(), reached_.end(), [](const Configuration& a, const Configuration& b) {
    return a.node != b.node ? a.node < b.node : a.stack < b.stack;
  });
  size_t kept = 0;
  for (const Configuration& next : reached_) {
    if (kept > 0 && reached_[kept - 1].node == next.node) {
      reached_[kept - 1].stack = stacks_.unite(reached_[kept - 1].stack, next.stack);
    } else {
      reached_[kept++] = next;
    }
  }
  reached_.resize(kept);
  if (kept == 0 && !may_end) return kDeadState;
  const uint64_t hash = hash_bytes(reached_.data(), kept * sizeof(Configuration), may_end ? 1 : 2);
  const auto [first, last] = by_hash_.equal_range(hash);
  for (auto found = first; found != last; ++found) {
    const State& state = states_[found->second];
    if (state.may_end == may_end && state.count == kept &&
        std::equal(reached_.begin(), reached_.end(), configurations_.begin() + state.begin)) {
      return found->second;
    }
  }
  const auto id = static_cast<StateId>(states_.size());
  states_.push_back({static_cast<uint32_t>(configurations_.size()), static_cast<uint32_t>(kept),
                     static_cast<uint32_t>(work_), may_end});
  configurations_.insert(configurations_.end(), reached_.begin(), reached_.end());
  steps_.resize(steps_.size() + classes_, kept == 0 ? kDeadState : kUnknown);
  by_hash_.emplace(hash, id);
  return id;
}

// A count counts only where a text is long enough to reach it: each round reads a byte at least.
StateId Automaton::simplified(StateId state, uint32_t bytes) {
  if (!grammar_->counts() || state == kDeadState) return state;
  std::unordered_map<StackId, StackId> known;
  const State from = states_[state];
  for (uint32_t i = from.begin; i < from.begin + from.count; ++i) {
    const Configuration configuration = configurations_[i];
    reached_.push_back({configuration.node, simplified_stack(configuration.stack, bytes, known)});
  }
  const StateId id = intern(from.may_end);
  reached_.clear();
  return id;
}

StackId Automaton::simplified_stack(StackId stack, uint32_t bytes, std::unordered_map<StackId, StackId>& known) {
  if (const auto found = known.find(stack); found != known.end()) return found->second;
  std::vector<Frame> frames(stacks_.frames(stack).begin(), stacks_.frames(stack).end());
  for (Frame& frame : frames) {
    if (frame.target == StackTable::kBottom) continue;
    frame.below = simplified_stack(frame.below, bytes, known);
    if ((frame.target & StackTable::kRepetitionBit) == 0) continue;
    frame.least = std::min(frame.least, bytes + 1);
    if (frame.most != kUnbounded) frame.most = std::min(frame.most, bytes + 1);
  }
  const StackId id = stacks_.intern(frames);
  known.emplace(stack, id);
  return id;
}

size_t Automaton::bytes_used() const {
  constexpr size_t kMapEntry = 40;
  return stacks_.bytes() + states_.size() * (sizeof(State) + kMapEntry) +
         configurations_.size() * sizeof(Configuration) + steps_.size() * sizeof(StateId);
}

void Automaton::collect(std::span<StateId> kept) {
  const StackTable old_stacks = std::move(stacks_);
  const std::vector<State> old_states = std::move(states_);
  const std::vector<Configuration> old_configurations = std::move(configurations_);
  stacks_ = StackTable();
  states_.clear();
  configurations_.clear();
  steps_.clear();
  by_hash_.clear();
  add_dead();
  std::unordered_map<StackId, StackId> known;
  for (StateId& id : kept) {
    if (id == kDeadState) continue;
    const State& state = old_states[id];
    for (uint32_t i = state.begin; i < state.begin + state.count; ++i) {
      const Configuration& configuration = old_configurations[i];
      reached_.push_back({configuration.node, copy_stack(old_stacks, configuration.stack, known)});
    }
    id = intern(state.may_end);
    reached_.clear();
  }
}

StackId Automaton::copy_stack(const StackTable& from, StackId stack, std::unordered_map<StackId, StackId>& known) {
  if (stack == StackTable::kBottomOnly) return stack;
  if (const auto found = known.find(stack); found != known.end()) return found->second;
  std::vector<Frame> frames(from.frames(stack).begin(), from.frames(stack).end());
  for (Frame& frame : frames) {
    if (frame.target != StackTable::kBottom) frame.below = copy_stack(from, frame.below, known);
  }
  const StackId id = stacks_.intern(frames);
  known.emplace(stack, id);
  return id;
}

}  // namespace infer::grammar
