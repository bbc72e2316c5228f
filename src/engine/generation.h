// One conversation with one model: prompt in, text out, with timings. The KV of earlier turns stays, so that a next
// prompt continues them.
//
// Where there are drafts of what the answer says next, steps verify them (conversation_drafts.h); the answer is the
// same.
//
// Text reaches the observer in whole UTF-8 characters and never contains a part of a stop string. A deadline or a
// cancellation ends a turn within one step and keeps what was generated.
// Ownership: borrows the model and the tokenizer, which must outlive it. Thread safety: one thread (the engine's).
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/call_context.h"
#include "base/ids.h"
#include "base/result.h"
#include "base/time.h"
#include "engine/answer.h"
#include "engine/conversation_drafts.h"
#include "model/model.h"
#include "sampling/sampler.h"
#include "tokenizer/tokenizer.h"

namespace infer::engine {

// Called on the engine thread, between steps. Any may be empty.
struct GenerationObserver {
  std::function<void(int done, int total)> on_prefill;  // Prompt tokens computed so far.
  std::function<void(std::string_view text)> on_text;   // The next piece of the answer.
};

struct GenerationResult {
  std::string text;             // What on_text was given, together.
  std::vector<TokenId> tokens;  // Generated ones; a final end-of-generation token is not among them.
  FinishReason finish_reason = FinishReason::kStop;
  int prompt_tokens = 0;         // Of this turn.
  int context_tokens = 0;        // In the KV cache after this turn.
  int drafted_tokens = 0;        // Computed beside the others,
  int accepted_tokens = 0;       // and those of them that are part of the answer.
  Duration time_to_first_token;  // From the call to the first token chosen; zero when there was none.
  Duration prefill_time;         // Computing the prompt.
  Duration decode_time;          // From the first token to the last.
  uint64_t kv_bytes = 0;
  uint64_t kv_bytes_f16 = 0;
  std::array<int, kv::kLevelCount> kv_pages{};              // At 16, 8, 4 bits and out of memory.
  std::vector<std::array<int, kv::kLevelCount>> kv_layers;  // The same of each layer.
  std::optional<double> kv_expected_divergence;             // From 16 bits in nats a token, where it is known.

  int generated_tokens() const { return static_cast<int>(tokens.size()); }
  double prefill_tokens_per_second() const;  // 0 when nothing was measured.
  double decode_tokens_per_second() const;   // The first token belongs to prefill.
};

class Conversation {
 public:
  // drafts: borrowed, for one conversation at a time; or null. kInvalidArgument: sampling parameters, or a tokenizer
  // with more tokens than the model has embeddings.
  static Result<std::unique_ptr<Conversation>> make(model::Model& model, const tokenizer::Tokenizer& tokenizer,
                                                    const sampling::SamplingParams& params,
                                                    ConversationDrafts* drafts = nullptr);
  ~Conversation();
  Conversation(const Conversation&) = delete;
  Conversation& operator=(const Conversation&) = delete;

  // Appends the prompt and generates. kInvalidArgument: an empty prompt in an empty conversation, one that does not fit
  // into the rest of the context (with the numbers), a bad option, a grammar for another vocabulary. kExhausted: a
  // grammar too ambiguous to follow. A deadline or cancellation is not an error but a finish reason. After an error the
  // conversation is as before the call.
  Result<GenerationResult> generate(std::span<const TokenId> prompt, const GenerationOptions& options,
                                    const CallContext& call, const GenerationObserver& observer);

  // Tokens in the KV cache, and one more when the last token chosen has not been computed yet.
  int length() const;
  // Forgets everything.
  void clear();

 private:
  struct State;
  explicit Conversation(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace infer::engine
