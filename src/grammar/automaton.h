// Reads text byte by byte with a grammar's machine: the deterministic automaton of its sets of configurations, built
// where texts lead.
//
// A state is everything that may follow, in all ways in which the text so far can be read; equal states have equal ids,
// so what was found out about one (its steps here, its token mask in token_automaton.h) is found again. A state is dead
// when no text that begins so belongs to the grammar, or when a limit is passed: stacks deeper than
// StackTable::kDepthMax, or more than kStepWorkMax moves of the machine for one byte. Whether a state is dead depends
// on the text alone. Memory: states are kept until collect(), which callers run when wants_collection(): it keeps what
// is held and forgets the rest. One step adds at most what kStepWorkMax allows. Ownership: shares the grammar. Thread
// safety: one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "grammar/grammar.h"
#include "grammar/stack_table.h"

namespace infer::grammar {

using StateId = uint32_t;
inline constexpr StateId kDeadState = 0;

class Automaton {
 public:
  static constexpr size_t kStepWorkMax = 8192;
  static constexpr size_t kBytesKept = size_t{24} << 20;  // Before wants_collection().

  explicit Automaton(std::shared_ptr<const Grammar> grammar);

  StateId start();
  StateId advance(StateId state, uint8_t byte) {
    const StateId known = steps_[size_t{state} * classes_ + grammar_->byte_class(byte)];
    return known != kUnknown ? known : compute_step(state, byte);
  }
  StateId advance(StateId state, std::string_view bytes);

  bool is_known(StateId state, uint8_t byte) const {
    return steps_[size_t{state} * classes_ + grammar_->byte_class(byte)] != kUnknown;
  }
  bool may_end(StateId state) const { return states_[state].may_end; }
  // Some byte may follow.
  bool may_go_on(StateId state) const { return states_[state].count > 0; }
  // How many moves of the machine it took to find this state.
  uint32_t work(StateId state) const { return states_[state].work; }
  // A state that no text of at most `bytes` bytes can tell from this one: counts that are not reached are made equal.
  StateId simplified(StateId state, uint32_t bytes);

  bool wants_collection() const { return bytes_used() > kBytesKept; }
  // Forgets all states but these, whose ids change in place.
  void collect(std::span<StateId> kept);
  size_t bytes_used() const;

 private:
  static constexpr StateId kUnknown = UINT32_MAX;

  // A node that reads a byte, and the stacks below it.
  struct Configuration {
    NodeId node = 0;
    StackId stack = 0;
    bool operator==(const Configuration&) const = default;
  };
  struct State {
    uint32_t begin = 0;  // Into configurations_.
    uint32_t count = 0;
    uint32_t work = 0;
    bool may_end = false;
  };

  StateId compute_step(StateId state, uint8_t byte);
  // From a node with stacks to all nodes that read bytes next; the first two add to what the third completes.
  void reach(NodeId node, StackId stack);
  void reach_repetition(uint32_t id, uint32_t least, uint32_t most, StackId stack);
  StateId finish_reaching();
  void follow_waiting();
  void visit(NodeId node, StackId stack);
  void return_from(StackId stack);
  void call(ProcedureId procedure, const Frame& frame);
  void call_above(ProcedureId procedure, StackId stack);
  auto later() const {
    return [this](ProcedureId a, ProcedureId b) { return grammar_->call_order()[a] > grammar_->call_order()[b]; };
  }
  StateId intern(bool may_end);
  void add_dead();
  StackId simplified_stack(StackId stack, uint32_t bytes, std::unordered_map<StackId, StackId>& known);
  StackId copy_stack(const StackTable& from, StackId stack, std::unordered_map<StackId, StackId>& known);

  std::shared_ptr<const Grammar> grammar_;
  size_t classes_;
  StackTable stacks_;
  std::vector<State> states_;
  std::vector<Configuration> configurations_;
  std::vector<StateId> steps_;  // [states][classes]
  std::unordered_multimap<uint64_t, StateId> by_hash_;

  // While one step is computed.
  std::vector<Configuration> waiting_;
  std::vector<Configuration> reached_;      // Nodes that read a byte; of one node perhaps several.
  std::vector<std::vector<StackId>> seen_;  // Of each node the stacks with which it was visited.
  std::vector<NodeId> seen_nodes_;
  std::vector<std::vector<Frame>> called_;  // Of each procedure the frames above which it runs.
  std::vector<ProcedureId> called_now_;     // A heap, by the order of calls: earliest on top.
  size_t work_ = 0;
  bool may_end_ = false;
};

}  // namespace infer::grammar
