// Messages of a conversation as the OpenAI API has them.
// Thread safety: pure functions.
#pragma once

#include <string>
#include <string_view>

#include "api/field_reader.h"
#include "chat/message.h"

namespace infer::api {

// A text, or a list of parts of which each is text.
std::string read_content(FieldReader& fields, std::string_view name);

// {"role", "content", "reasoning_content"?, "name"?, "tool_calls"?, "tool_call_id"?}. Roles that templates know by
// another name get that: developer is system, function is tool.
chat::Message read_message(FieldReader& fields);

}  // namespace infer::api
