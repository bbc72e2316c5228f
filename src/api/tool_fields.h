// The tools that a request offers to the model, and whether it must call one.
// Thread safety: pure functions, plain values.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "api/field_reader.h"
#include "api/json.h"
#include "chat/tool_call_format.h"
#include "grammar/grammar.h"

namespace infer::api {

struct ToolFields {
  std::string tools;  // A JSON array as templates take it; "": the model may call none.
  // Where a call is required: what the answer follows.
  std::shared_ptr<const grammar::Grammar> grammar;
};

// Where the functions stand: {"type": "function", "function": {"name", ...}} in the API for chats, {"type": "function",
// "name", ...} in that for responses. Either is read everywhere; templates get the former.
// `format`: how the model writes calls; `knows_tools`: whether its template does anything with them.
ToolFields read_tools(FieldReader& fields, chat::ToolCallFormat format, bool knows_tools);

}  // namespace infer::api
