#include "api/chat_request.h"

#include "api/message_fields.h"
#include "api/tool_fields.h"
#include "base/format.h"
#include "chat/answer_parser.h"

namespace infer::api {

namespace {

void read_messages(FieldReader& fields, ChatRequest& request) {
  const Json* list = fields.array("messages");
  if (list == nullptr) return fields.fail_missing("messages");
  if (list->elements().empty()) return fields.fail("messages", "Invalid 'messages': expected at least one message.");
  for (size_t i = 0; i < list->elements().size() && !fields.failed(); ++i) {
    const Json& given = list->elements()[i];
    const std::string name = format("messages[{}]", i);
    if (!given.is_object()) return fields.fail_kind(name, "an object", given);
    FieldReader inside = fields.inside(name, given);
    request.messages.push_back(read_message(inside));
  }
}

void read_logprobs(FieldReader& fields, ChatRequest& request) {
  const bool wanted = fields.boolean("logprobs").value_or(false);
  const auto top = fields.integer("top_logprobs", 0, engine::kTopLogprobsMax);
  if (top && *top > 0 && !wanted) {
    fields.fail("top_logprobs", "'top_logprobs' is only allowed when 'logprobs' is true.");
  }
  if (wanted) request.top_logprobs = static_cast<int>(top.value_or(0));
}

void read_variables(FieldReader& fields, ChatRequest& request) {
  if (const Json* given = fields.object("chat_template_kwargs")) {  // llama.cpp's and vLLM's
    for (const auto& [name, value] : given->members()) request.variables.emplace_back(name, value.dump());
  }
  if (const auto effort = fields.text("reasoning_effort")) {
    request.variables.emplace_back("reasoning_effort", Json(*effort).dump());
  }
  request.adds_generation_prompt = fields.boolean("add_generation_prompt").value_or(true);
}

}  // namespace

ChatRequest read_chat_request(FieldReader& fields, const ServedModel& model, uint64_t seed) {
  ChatRequest request{.generation = read_generation_fields(fields, model, seed)};
  request.generation.shows_markers = true;
  constexpr int64_t kTokensMax = 1 << 30;
  // The newer name wins; -1 means "as many as fit", as for llama.cpp.
  const auto older = fields.integer("max_tokens", -1, kTokensMax);
  const auto newer = fields.integer("max_completion_tokens", -1, kTokensMax);
  request.generation.tokens_max = static_cast<int>(newer ? *newer : older.value_or(-1));
  read_messages(fields, request);
  read_logprobs(fields, request);
  read_variables(fields, request);
  ToolFields tools = read_tools(fields, model);
  request.tools = std::move(tools.tools);
  request.has_one_call_at_most = tools.has_one_call_at_most;
  if (!tools.grammar) return request;
  if (request.generation.grammar)
    fields.fail("tool_choice", "A required call and a 'response_format' exclude each other.");
  request.generation.grammar = std::move(tools.grammar);
  return request;
}

std::variant<ChatPrompt, ApiError> render_chat(const ChatRequest& request, const ServedModel& model, WallTime now) {
  const Result<chat::Prompt> prompt = model.chat.render({.messages = request.messages,
                                                         .tools = request.tools,
                                                         .add_generation_prompt = request.adds_generation_prompt,
                                                         .variables = request.variables,
                                                         .now = now});
  if (!prompt) {
    ApiError error = api_error_of(prompt.error());
    error.param = "messages";
    return error;
  }
  if (auto error = check_text(prompt->text.size(), model, "messages")) return *std::move(error);
  ChatPrompt made{.tokens = chat::encode(*prompt, model.tokenizer),
                  .starts_in_reasoning = chat::ends_in_reasoning(prompt->text, model.chat.reasoning_tags())};
  if (auto error = check_prompt(made.tokens.size(), model, "messages")) return *std::move(error);
  return made;
}

}  // namespace infer::api
