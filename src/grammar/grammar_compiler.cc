#include "grammar/grammar_compiler.h"

#include <algorithm>

#include "base/format.h"
#include "grammar/utf8_sequences.h"

namespace infer::grammar {

using Kind = Rules::Kind;

Result<Grammar> Grammar::compile(const Rules& rules, RuleId root) { return GrammarCompiler(rules).compile(root); }

std::string GrammarCompiler::rule_place(RuleId rule) const {
  const Rules::Rule& found = rules_.rules()[rule];
  return found.line > 0 ? format("grammar, line {}: the rule '{}'", found.line, found.name)
                        : format("grammar: the rule '{}'", found.name);
}

Result<Grammar> GrammarCompiler::compile(RuleId root) {
  for (RuleId rule = 0; rule < rules_.rules().size(); ++rule) {
    if (rules_.rules()[rule].defined) continue;
    return Error{ErrorCode::kInvalidArgument, rule_place(rule) + " is used, but not defined: define it"};
  }
  for (const Rules::Expr& expr : rules_.exprs()) {
    if (expr.depth <= Grammar::kDepthMax) continue;
    return Error{ErrorCode::kExhausted,
                 format("the grammar nests expressions more than {} deep: give inner ones a rule "
                        "of their own",
                        Grammar::kDepthMax)};
  }
  list_users();
  facts_.can_end = least_fixed_point(&GrammarCompiler::needed_to_end);
  facts_.can_be_empty = least_fixed_point(&GrammarCompiler::needed_to_be_empty);
  facts_.can_be_long = least_fixed_point(&GrammarCompiler::needed_to_be_long);
  const ExprId body = rules_.rules()[root].body;
  if (!facts_.can_end[body]) {
    return Error{ErrorCode::kInvalidArgument, rule_place(root) +
                                                  " matches no text that ends: each of its alternatives "
                                                  "needs itself again; add one that does not"};
  }
  add({.kind = Node::Kind::kEnd});  // kEndNode
  NodeId start = facts_.can_be_empty[body] ? Grammar::kEndNode : kNowhere;
  if (facts_.can_be_long[body]) {
    start = split(add({.kind = Node::Kind::kCall, .next = Grammar::kEndNode, .other = procedure_of_rule(root)}), start);
  }
  INFER_TRY(emit_procedures());
  grammar_.start_ = start;
  INFER_TRY(order_calls());
  find_byte_classes();
  return std::move(grammar_);
}

// ---- facts ----------------------------------------------------------------------------------------------------------

void GrammarCompiler::list_users() {
  const auto exprs = rules_.exprs();
  const auto for_each_use = [&](auto&& use) {
    for (ExprId id = 0; id < exprs.size(); ++id) {
      for (const ExprId child : rules_.children_of(exprs[id])) use(child, id);
      if (exprs[id].kind == Kind::kCall) use(rules_.rules()[exprs[id].begin].body, id);
    }
  };
  user_begins_.assign(exprs.size() + 1, 0);
  for_each_use([&](ExprId used, ExprId) { ++user_begins_[used + 1]; });
  for (size_t i = 0; i < exprs.size(); ++i) user_begins_[i + 1] += user_begins_[i];
  users_.resize(user_begins_.back());
  std::vector<uint32_t> next(user_begins_.begin(), user_begins_.end() - 1);
  for_each_use([&](ExprId used, ExprId by) { users_[next[used]++] = by; });
}

std::vector<bool> GrammarCompiler::least_fixed_point(Needed needed) const {
  const auto exprs = rules_.exprs();
  std::vector<uint32_t> missing(exprs.size());
  std::vector<bool> holds(exprs.size(), false);
  std::vector<ExprId> waiting;
  for (ExprId id = 0; id < exprs.size(); ++id) {
    missing[id] = (this->*needed)(exprs[id], id);
    if (missing[id] == 0) waiting.push_back(id);
  }
  while (!waiting.empty()) {
    const ExprId id = waiting.back();
    waiting.pop_back();
    if (holds[id]) continue;
    holds[id] = true;
    for (uint32_t i = user_begins_[id]; i < user_begins_[id + 1]; ++i) {
      const ExprId user = users_[i];
      if (missing[user] > 0 && missing[user] != UINT32_MAX && --missing[user] == 0) waiting.push_back(user);
    }
  }
  return holds;
}

uint32_t GrammarCompiler::needed_to_end(const Rules::Expr& expr, ExprId) const {
  switch (expr.kind) {
    case Kind::kText: return 0;
    case Kind::kCharacters: return expr.count > 0 ? 0 : UINT32_MAX;
    case Kind::kSequence: return expr.count;
    case Kind::kChoice: return 1;
    case Kind::kRepeat: return expr.least == 0 ? 0 : 1;
    case Kind::kCall: return 1;
  }
  return UINT32_MAX;
}

uint32_t GrammarCompiler::needed_to_be_empty(const Rules::Expr& expr, ExprId) const {
  switch (expr.kind) {
    case Kind::kText: return expr.count == 0 ? 0 : UINT32_MAX;
    case Kind::kCharacters: return UINT32_MAX;
    case Kind::kSequence: return expr.count;
    case Kind::kChoice: return 1;
    case Kind::kRepeat: return expr.least == 0 ? 0 : 1;
    case Kind::kCall: return 1;
  }
  return UINT32_MAX;
}

// Runs after can_end is known.
uint32_t GrammarCompiler::needed_to_be_long(const Rules::Expr& expr, ExprId id) const {
  switch (expr.kind) {
    case Kind::kText: return expr.count > 0 ? 0 : UINT32_MAX;
    case Kind::kCharacters: return expr.count > 0 ? 0 : UINT32_MAX;
    case Kind::kSequence: return facts_.can_end[id] ? 1 : UINT32_MAX;
    case Kind::kChoice: return 1;
    case Kind::kRepeat: return expr.most > 0 ? 1 : UINT32_MAX;
    case Kind::kCall: return 1;
  }
  return UINT32_MAX;
}

// ---- nodes ----------------------------------------------------------------------------------------------------------

NodeId GrammarCompiler::add(Node node) {
  if (grammar_.nodes_.size() >= Grammar::kNodesMax) {
    too_large_ = true;
    return kNowhere;
  }
  grammar_.nodes_.push_back(node);
  return static_cast<NodeId>(grammar_.nodes_.size() - 1);
}

NodeId GrammarCompiler::split(NodeId a, NodeId b) {
  if (a == kNowhere || a == b) return b;
  if (b == kNowhere) return a;
  return add({.kind = Node::Kind::kSplit, .next = a, .other = b});
}

ProcedureId GrammarCompiler::procedure_of_rule(RuleId rule) {
  const auto [found, is_new] = rule_procedures_.emplace(rule, static_cast<ProcedureId>(procedures_.size()));
  if (is_new) procedures_.push_back({rules_.rules()[rule].body, rule});
  return found->second;
}

ProcedureId GrammarCompiler::procedure_of_body(ExprId body) {
  const auto [found, is_new] = body_procedures_.emplace(body, static_cast<ProcedureId>(procedures_.size()));
  if (is_new) procedures_.push_back({body, current_rule_});
  return found->second;
}

Status GrammarCompiler::emit_procedures() {
  // Emitting one may ask for others.
  for (ProcedureId id = 0; id < procedures_.size() && !too_large_; ++id) {
    const Procedure procedure = procedures_[id];
    current_rule_ = procedure.rule;
    const NodeId entry = emit_long(procedure.body, Grammar::kEndNode);
    grammar_.entries_.push_back(entry);
  }
  if (!too_large_) return {};
  return Error{ErrorCode::kExhausted, format("the grammar needs more than {} nodes: shorten it", Grammar::kNodesMax)};
}

NodeId GrammarCompiler::emit(ExprId id, NodeId next) {
  if (next == kNowhere || !facts_.can_end[id] || too_large_) return kNowhere;
  const Rules::Expr& expr = rules_.exprs()[id];
  switch (expr.kind) {
    case Kind::kText: return emit_text(rules_.text_of(expr), next);
    case Kind::kCharacters: return emit_characters(expr, next);
    case Kind::kSequence: return emit_sequence(expr, next);
    case Kind::kChoice: return emit_choice(expr, next, false);
    case Kind::kRepeat: return emit_repeat(expr, next, false);
    case Kind::kCall:
      return split(facts_.can_be_long[id] ? emit_call(expr.begin, next) : kNowhere,
                   facts_.can_be_empty[id] ? next : kNowhere);
  }
  return kNowhere;
}

NodeId GrammarCompiler::emit_long(ExprId id, NodeId next) {
  if (!facts_.can_be_empty[id]) return emit(id, next);
  if (next == kNowhere || !facts_.can_be_long[id] || too_large_) return kNowhere;
  const Rules::Expr& expr = rules_.exprs()[id];
  switch (expr.kind) {
    case Kind::kText:
    case Kind::kCharacters: return kNowhere;  // An empty text, as it can be empty.
    case Kind::kSequence: return emit_long_sequence(expr, next);
    case Kind::kChoice: return emit_choice(expr, next, true);
    case Kind::kRepeat: return emit_repeat(expr, next, true);
    case Kind::kCall: return emit_call(expr.begin, next);
  }
  return kNowhere;
}

NodeId GrammarCompiler::emit_call(RuleId rule, NodeId next) {
  return add({.kind = Node::Kind::kCall, .next = next, .other = procedure_of_rule(rule)});
}

NodeId GrammarCompiler::emit_text(std::string_view text, NodeId next) {
  for (size_t i = text.size(); i-- > 0 && next != kNowhere;) {
    const auto byte = static_cast<uint8_t>(text[i]);
    next = add({.kind = Node::Kind::kByte, .low = byte, .high = byte, .next = next});
  }
  return next;
}

NodeId GrammarCompiler::emit_characters(const Rules::Expr& expr, NodeId next) {
  std::vector<ByteSequence> sequences;
  for (const CharacterRange& range : rules_.ranges_of(expr)) append_utf8_sequences(range, sequences);
  // Ends are shared: most sequences end with the same continuation bytes.
  std::map<std::pair<NodeId, uint32_t>, NodeId> made;
  NodeId first = kNowhere;
  for (const ByteSequence& sequence : sequences) {
    NodeId node = next;
    for (size_t i = sequence.length; i-- > 0 && node != kNowhere;) {
      const ByteRange range = sequence.bytes[i];
      const std::pair<NodeId, uint32_t> key{node, range.low * 256u + range.high};
      const auto found = made.find(key);
      node = found != made.end() ? found->second
                                 : add({.kind = Node::Kind::kByte, .low = range.low, .high = range.high, .next = node});
      made[key] = node;
    }
    first = split(node, first);
  }
  return first;
}

NodeId GrammarCompiler::emit_choice(const Rules::Expr& expr, NodeId next, bool long_only) {
  NodeId first = kNowhere;
  std::vector<std::string_view> texts;
  for (const ExprId child : rules_.children_of(expr)) {
    const Rules::Expr& part = rules_.exprs()[child];
    if (part.kind == Kind::kText && part.count > 0) {
      texts.push_back(rules_.text_of(part));
    } else {
      first = split(long_only ? emit_long(child, next) : emit(child, next), first);
    }
  }
  std::sort(texts.begin(), texts.end());
  texts.erase(std::unique(texts.begin(), texts.end()), texts.end());
  return split(emit_texts(texts, 0, next), first);
}

NodeId GrammarCompiler::emit_texts(std::span<const std::string_view> texts, size_t at, NodeId next) {
  if (texts.size() == 1) return emit_text(texts[0].substr(at), next);
  NodeId first = kNowhere;
  if (!texts.empty() && texts[0].size() == at) {
    first = next;
    texts = texts.subspan(1);
  }
  while (!texts.empty() && !too_large_) {
    const char byte = texts[0][at];
    size_t count = 1;
    while (count < texts.size() && texts[count][at] == byte) ++count;
    const auto group = texts.first(count);
    // What they all begin with needs no branches, and so no recursion.
    size_t shared = at + 1;
    while (shared < group.front().size() && shared < group.back().size() &&
           group.front()[shared] == group.back()[shared]) {
      ++shared;
    }
    first = split(emit_text(group[0].substr(at, shared - at), emit_texts(group, shared, next)), first);
    texts = texts.subspan(count);
  }
  return first;
}

NodeId GrammarCompiler::emit_sequence(const Rules::Expr& expr, NodeId next) {
  const auto parts = rules_.children_of(expr);
  for (size_t i = parts.size(); i-- > 0;) next = emit(parts[i], next);
  return next;
}

// The first part that is not empty may be any of those before and including the first that must not be.
NodeId GrammarCompiler::emit_long_sequence(const Rules::Expr& expr, NodeId next) {
  const auto parts = rules_.children_of(expr);
  NodeId first = kNowhere;  // What begins with one of the parts i and later.
  for (size_t i = parts.size(); i-- > 0;) {
    first = split(emit_long(parts[i], next), facts_.can_be_empty[parts[i]] ? first : kNowhere);
    if (i > 0) next = emit(parts[i], next);
  }
  return first;
}

NodeId GrammarCompiler::emit_repeat(const Rules::Expr& expr, NodeId next, bool long_only) {
  const ExprId body = rules_.children_of(expr)[0];
  const bool may_skip = !long_only && (expr.least == 0 || facts_.can_be_empty[body]);
  const NodeId around = may_skip ? next : kNowhere;
  if (expr.most == 0 || !facts_.can_be_long[body]) return around;
  if (expr.most == 1) return split(emit_long(body, next), around);
  // Rounds that read nothing change nothing, so a body that may be empty need not be repeated at all.
  const uint32_t least = facts_.can_be_empty[body] ? 0 : expr.least;
  if (expr.most == kUnbounded && least <= 1) {
    const NodeId loop = add({.kind = Node::Kind::kSplit, .next = kNowhere, .other = next});
    const NodeId first = emit_long(body, loop);
    if (first == kNowhere || loop == kNowhere) return kNowhere;
    grammar_.nodes_[loop].next = first;
    return split(first, around);
  }
  const auto id = static_cast<uint32_t>(grammar_.repetitions_.size());
  grammar_.repetitions_.push_back({procedure_of_body(body), may_skip ? 0 : std::max(least, 1u), expr.most, next});
  return add({.kind = Node::Kind::kRepeat, .next = next, .other = id});
}

// ---- order of calls, classes of bytes -------------------------------------------------------------------------------

void GrammarCompiler::list_repeat_calls(const Node& node, std::vector<NodeId>& waiting,
                                        std::vector<ProcedureId>& out) const {
  const Repetition& repetition = grammar_.repetitions_[node.other];
  out.push_back(repetition.body);
  if (repetition.least == 0) waiting.push_back(repetition.next);
}

// The procedures that may be called before one has read a byte.
void GrammarCompiler::list_first_calls(ProcedureId procedure, std::vector<uint32_t>& seen,
                                       std::vector<ProcedureId>& out) const {
  std::vector<NodeId> waiting{grammar_.entries_[procedure]};
  while (!waiting.empty()) {
    const NodeId id = waiting.back();
    waiting.pop_back();
    if (seen[id] == procedure + 1) continue;
    seen[id] = procedure + 1;
    const Node& node = grammar_.nodes_[id];
    if (node.kind == Node::Kind::kCall) out.push_back(node.other);
    if (node.kind == Node::Kind::kRepeat) list_repeat_calls(node, waiting, out);
    if (node.kind == Node::Kind::kSplit) {
      waiting.push_back(node.next);
      waiting.push_back(node.other);
    }
  }
}

// Depth first, without recursion: a procedure is placed when all that it calls first are.
Status GrammarCompiler::order_calls() {
  const size_t count = procedures_.size();
  std::vector<std::vector<ProcedureId>> calls(count);
  std::vector<uint32_t> seen(grammar_.nodes_.size(), 0);
  for (ProcedureId id = 0; id < count; ++id) list_first_calls(id, seen, calls[id]);
  grammar_.call_order_.assign(count, 0);
  enum class Mark : uint8_t { kNew, kOpen, kPlaced };
  std::vector<Mark> marks(count, Mark::kNew);
  auto place = static_cast<uint32_t>(count);
  for (ProcedureId root = 0; root < count; ++root) {
    if (marks[root] != Mark::kNew) continue;
    std::vector<std::pair<ProcedureId, size_t>> path{{root, 0}};
    marks[root] = Mark::kOpen;
    while (!path.empty()) {
      auto& [id, next_call] = path.back();
      if (next_call == calls[id].size()) {
        marks[id] = Mark::kPlaced;
        grammar_.call_order_[id] = --place;
        path.pop_back();
        continue;
      }
      const ProcedureId called = calls[id][next_call++];
      if (marks[called] == Mark::kOpen) {
        return Error{ErrorCode::kInvalidArgument,
                     rule_place(procedures_[called].rule) +
                         " is left-recursive: it can begin with itself before anything was read; write lists as "
                         "'item*' or 'item list'"};
      }
      if (marks[called] == Mark::kNew) {
        marks[called] = Mark::kOpen;
        path.emplace_back(called, 0);
      }
    }
  }
  return {};
}

void GrammarCompiler::find_byte_classes() {
  std::array<bool, 257> begins{};
  begins[0] = true;
  for (const Node& node : grammar_.nodes_) {
    if (node.kind != Node::Kind::kByte) continue;
    begins[node.low] = true;
    begins[size_t{node.high} + 1] = true;
  }
  uint32_t classes = 0;
  for (size_t byte = 0; byte < 256; ++byte) {
    if (begins[byte]) ++classes;
    grammar_.byte_class_[byte] = static_cast<uint8_t>(classes - 1);
  }
  grammar_.byte_classes_ = classes;
}

}  // namespace infer::grammar
