// What Grammar::compile does, in parts: which expressions can be empty, can end, can be more than empty; their nodes;
// the order of calls; the classes of bytes.
//
// Thread safety: one compilation, one thread. Ownership: borrows the rules.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <utility>
#include <vector>

#include "base/result.h"
#include "grammar/grammar.h"
#include "grammar/rules.h"

namespace infer::grammar {

class GrammarCompiler {
 public:
  explicit GrammarCompiler(const Rules& rules) : rules_(rules) {}
  Result<Grammar> compile(RuleId root);

 private:
  static constexpr NodeId kNowhere = UINT32_MAX;  // What matches no text at all.

  // Facts about each expression, found bottom-up through calls as the least fixed point.
  struct Facts {
    std::vector<bool> can_end;       // Matches some finite text.
    std::vector<bool> can_be_empty;  // Matches the empty text.
    std::vector<bool> can_be_long;   // Matches some finite text that is not empty.
  };
  // How many of the children of an expression must have a property so that it has it itself; 0: it has it anyway.
  using Needed = uint32_t (GrammarCompiler::*)(const Rules::Expr& expr, ExprId id) const;
  std::vector<bool> least_fixed_point(Needed needed) const;
  uint32_t needed_to_end(const Rules::Expr& expr, ExprId id) const;
  uint32_t needed_to_be_empty(const Rules::Expr& expr, ExprId id) const;
  uint32_t needed_to_be_long(const Rules::Expr& expr, ExprId id) const;
  void list_users();

  Status check_rules(RuleId root) const;
  std::string rule_place(RuleId rule) const;

  // Emit the nodes that match an expression and then go on at `next`; give the first, or kNowhere. `emit_long` leaves
  // the empty text out.
  NodeId emit(ExprId id, NodeId next);
  NodeId emit_long(ExprId id, NodeId next);
  NodeId emit_text(std::string_view text, NodeId next);
  NodeId emit_characters(const Rules::Expr& expr, NodeId next);
  NodeId emit_choice(const Rules::Expr& expr, NodeId next, bool long_only);
  // Texts of [begin, end), sorted, which share their first `at` bytes; as a tree, so that few nodes are ever active.
  NodeId emit_texts(std::span<const std::string_view> texts, size_t at, NodeId next);
  NodeId emit_sequence(const Rules::Expr& expr, NodeId next);
  NodeId emit_long_sequence(const Rules::Expr& expr, NodeId next);
  NodeId emit_repeat(const Rules::Expr& expr, NodeId next, bool long_only);
  NodeId emit_call(RuleId rule, NodeId next);
  NodeId add(Node node);
  NodeId split(NodeId a, NodeId b);  // Either may be kNowhere.
  ProcedureId procedure_of_rule(RuleId rule);
  ProcedureId procedure_of_body(ExprId body);
  Status emit_procedures();

  Status order_calls();
  void list_first_calls(ProcedureId procedure, std::vector<uint32_t>& seen, std::vector<ProcedureId>& out) const;
  void list_repeat_calls(const Node& node, std::vector<NodeId>& waiting, std::vector<ProcedureId>& out) const;
  void find_byte_classes();

  struct Procedure {
    ExprId body = 0;
    RuleId rule = 0;  // That it is or is part of, for messages.
  };

  const Rules& rules_;
  Grammar grammar_;
  Facts facts_;
  std::vector<uint32_t> user_begins_;  // The expressions that use an expression: users_[begins[id], begins[id + 1]).
  std::vector<ExprId> users_;
  std::vector<Procedure> procedures_;
  std::map<RuleId, ProcedureId> rule_procedures_;
  std::map<ExprId, ProcedureId> body_procedures_;
  RuleId current_rule_ = 0;
  bool too_large_ = false;
};

}  // namespace infer::grammar
