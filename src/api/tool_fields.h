// The tools that a request offers to the model, and whether it must call one.
// Thread safety: pure functions, plain values.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "api/field_reader.h"
#include "api/served_model.h"
#include "grammar/token_automaton.h"

namespace infer::api {

struct ToolFields {
  std::string tools{};  // A JSON array as templates take it; "": the model may call none.
  // Where a call is required: what the answer follows.
  std::shared_ptr<grammar::TokenAutomaton> grammar{};
  bool has_one_call_at_most = false;  // parallel_tool_calls is false.
};

// Where the functions stand: {"type": "function", "function": {"name", ...}} in the API for chats, {"type": "function",
// "name", ...} in that for responses. Either is read everywhere; templates get the former.
// An error where the model's template does nothing with tools.
ToolFields read_tools(FieldReader& fields, const ServedModel& model);

}  // namespace infer::api
