// POST /v1/chat/completions: the body.
// Thread safety: pure functions, plain values.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "api/field_reader.h"
#include "api/generation_fields.h"
#include "api/served_model.h"
#include "chat/chat_template.h"
#include "chat/message.h"

namespace infer::api {

struct ChatRequest {
  GenerationFields generation;
  std::vector<chat::Message> messages{};
  std::string tools{};                                           // A JSON array; "": none that the model may call.
  std::vector<std::pair<std::string, std::string>> variables{};  // Of the template: names and JSON.
  bool has_one_call_at_most = false;
  bool adds_generation_prompt = true;
  int top_logprobs = -1;  // -1: none.
};

ChatRequest read_chat_request(FieldReader& fields, const ServedModel& model, uint64_t seed);

// What a conversation becomes for the engine.
struct ChatPrompt {
  std::vector<TokenId> tokens;
  bool starts_in_reasoning = false;
};
std::variant<ChatPrompt, ApiError> render_chat(const ChatRequest& request, const ServedModel& model, WallTime now);

}  // namespace infer::api
