// A grammar compiled into a pushdown machine over the bytes of UTF-8 text: one procedure for each rule and for each
// counted repetition, made of nodes that read a byte, branch, or call a procedure.
//
// Invariants: no procedure reaches its end without having read a byte (a rule that may be empty is called beside a way
// around it), none calls itself before it has read one, and from every node the end can be reached: parts that can
// never end are left out. So a step of the machine always ends, and what has been begun can be completed.
// Repetitions with counts are counted, not unrolled. The rules may be hostile: time and memory are linear in their size
// (nested optional parts: times the depth), and kNodesMax bounds them.
// Ownership: owns all. Thread safety: const after compile(), shared freely.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "grammar/rules.h"

namespace infer::grammar {

using NodeId = uint32_t;
using ProcedureId = uint32_t;

struct Node {
  enum class Kind : uint8_t {
    kEnd,     // Back to the caller.
    kByte,    // Reads a byte of [low, high], goes to `next`.
    kSplit,   // Goes to `next` and to `other`.
    kCall,    // Reads what procedure `other` reads, goes to `next`. With next == kEndNode nothing need be remembered.
    kRepeat,  // Reads what repetition `other` reads, and goes to its `next`.
  };
  Kind kind = Kind::kEnd;
  uint8_t low = 0;
  uint8_t high = 0;
  NodeId next = 0;
  uint32_t other = 0;
};

// `body` from `least` to `most` times, then on to `next`.
struct Repetition {
  ProcedureId body = 0;
  uint32_t least = 0;
  uint32_t most = 0;  // kUnbounded
  NodeId next = 0;
};

class Grammar {
 public:
  static constexpr NodeId kEndNode = 0;
  static constexpr size_t kNodesMax = size_t{1} << 21;
  static constexpr uint32_t kDepthMax = 500;  // Of nested expressions.

  // kInvalidArgument: an undefined rule, left recursion, or a root that matches no finite text, naming rule and line;
  // kExhausted: too large.
  static Result<Grammar> compile(const Rules& rules, RuleId root);

  std::span<const Node> nodes() const { return nodes_; }
  std::span<const NodeId> entries() const { return entries_; }  // One for each procedure.
  std::span<const Repetition> repetitions() const { return repetitions_; }
  // The place of each procedure in an order in which those that are called before anything was read come later.
  std::span<const uint32_t> call_order() const { return call_order_; }
  // Bytes of one class are alike to every node.
  uint8_t byte_class(uint8_t byte) const { return byte_class_[byte]; }
  uint32_t byte_classes() const { return byte_classes_; }
  // Where a text begins: a node outside of all procedures that goes to the root's and, where the empty text belongs to
  // the grammar, to the end.
  NodeId start() const { return start_; }
  bool counts() const { return !repetitions_.empty(); }

 private:
  friend class GrammarCompiler;
  Grammar() = default;

  std::vector<Node> nodes_;
  std::vector<NodeId> entries_;
  std::vector<Repetition> repetitions_;
  std::vector<uint32_t> call_order_;
  std::array<uint8_t, 256> byte_class_{};
  uint32_t byte_classes_ = 0;
  NodeId start_ = 0;
};

}  // namespace infer::grammar
