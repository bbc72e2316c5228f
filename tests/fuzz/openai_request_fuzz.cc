// Bodies of requests are anybody's bytes: an error in the shape of the API, or a request that the engine can take.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "api/chat_request.h"
#include "api/completion_request.h"
#include "api/request_extras.h"
#include "api/responses_request.h"
#include "base/check.h"
#include "base/log.h"
#include "engine/grammar_cache.h"
#include "engine/vocabulary_trie.h"
#include "testing/test_clock.h"
#include "tokenizer/handmade_vocabulary.h"

namespace {

using namespace infer;

// As templates of models that think and call tools have it.
constexpr std::string_view kTemplate =
    "{% for t in tools or [] %}{{ t | tojson }}{% endfor %}{% for m in messages %}<|{{ m.role }}|>{{ m.content }}"
    "{% for c in m.tool_calls or [] %}<tool_call>{{ c | tojson }}</tool_call>{% endfor %}{% endfor %}<think>";

// The parts of a served model that reading a request looks at; there is no engine.
struct Parts {
  std::unique_ptr<tokenizer::Tokenizer> tokenizer;
  std::unique_ptr<chat::ChatTemplate> chat = chat::ChatTemplate::parse(kTemplate, "", "").value();

  Parts() {
    tokenizer::HandmadeVocabulary vocabulary;
    vocabulary.start_byte_level();
    NullLog log;
    tokenizer = tokenizer::make_tokenizer(vocabulary.data(), log).value();
  }
};

void check(const std::optional<api::ApiError>& error, const api::GenerationFields& fields) {
  if (error) {
    INFER_CHECK(error->status >= 400 && error->status < 500 && !error->message.empty());
    INFER_CHECK(api::error_json(*error).find("error") != nullptr);
    return;
  }
  INFER_CHECK(fields.sampling.validate().has_value());
  INFER_CHECK(fields.choices >= 1 && fields.choices <= api::kChoicesMax && fields.tokens_max >= -1);
  for (const std::string& stop : fields.stops) INFER_CHECK(!stop.empty());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Parts kParts;
  static const testing::TestClock kClock;
  // One that remembers little, so that each input is compiled.
  engine::GrammarCache grammars(engine::make_vocabulary_trie(*kParts.tokenizer), 1);
  const api::ServedModel model{.id = "m",
                               .aliases = {},
                               .tokenizer = *kParts.tokenizer,
                               .chat = *kParts.chat,
                               .clock = kClock,
                               .grammars = grammars,
                               .context = 256,
                               .token_bytes_max = 1};
  const auto body = api::Json::parse(std::string_view(reinterpret_cast<const char*>(data), size));
  if (!body || !body->is_object()) return 0;
  {
    std::optional<api::ApiError> error;
    api::FieldReader fields(*body, error);
    const api::ChatRequest request = api::read_chat_request(fields, model, 1);
    check(error, request.generation);
    if (!error) {
      INFER_CHECK(!request.messages.empty());
      (void)api::render_chat(request, model, {});
    }
  }
  {
    std::optional<api::ApiError> error;
    api::FieldReader fields(*body, error);
    const api::CompletionRequest request = api::read_completion_request(fields, model, 1);
    check(error, request.generation);
    if (!error) INFER_CHECK(!request.prompts.empty());
  }
  {
    std::optional<api::ApiError> error;
    api::FieldReader fields(*body, error);
    check(error, api::read_responses_request(fields, model, 1).generation);
  }
  std::optional<api::ApiError> error;
  const auto extras = api::read_extras(*body, {}, Instant(), model.defaults, error);
  if (!error) INFER_CHECK(extras.limits.total.when() > Instant());
  return 0;
}
