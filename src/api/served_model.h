// The one model that a server answers with, and what requests get when they do not say.
// Ownership: borrows what it refers to, which must outlive it. Thread safety: const, shared freely.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "api/request_extras.h"
#include "base/ids.h"
#include "base/time.h"
#include "chat/chat_template.h"
#include "engine/grammar_cache.h"
#include "sampling/sampler.h"
#include "telemetry/recorder.h"
#include "tokenizer/tokenizer.h"

namespace infer::api {

// `what`: "asked", with a request's body, or "answered", with the text of one answer; both as they are.
using ContentLog = std::function<void(std::string_view request_id, std::string_view what, std::string_view text)>;

struct ServedModel {
  std::string id;                    // What clients call it;
  std::vector<std::string> aliases;  // these names mean it too.
  int64_t created = 0;               // When it was loaded, in seconds since 1970.
  const tokenizer::Tokenizer& tokenizer;
  const chat::ChatTemplate& chat;
  const Clock& clock;
  engine::GrammarCache& grammars;  // Those that requests name.
  std::vector<TokenId> markers{};  // What takes answers of chats apart must see (chat/answer_markers.h).
  int context = 0;
  int context_trained = 0;
  size_t token_bytes_max = 0;  // Of the longest token: what bounds the text that fits into the context.
  uint64_t parameters = 0;
  uint64_t file_bytes = 0;

  sampling::SamplingParams sampling{};
  RequestDefaults defaults{};
  telemetry::Recorder* recorder = nullptr;  // Told of each request that ended; may be null.

  ContentLog log_content{};  // Empty unless somebody wants contents logged. Called on any thread.

  bool answers_to(std::string_view name) const;
};

// The length in bytes of the vocabulary's longest token.
size_t longest_token_bytes(const tokenizer::Tokenizer& tokenizer);

}  // namespace infer::api
