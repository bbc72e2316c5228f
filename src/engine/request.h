// One request to the engine, and what it ended as. Plain values.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/call_context.h"
#include "base/ids.h"
#include "base/result.h"
#include "base/time.h"
#include "engine/answer.h"
#include "engine/stages.h"
#include "kv/page_pool.h"
#include "sampling/sampler.h"

namespace infer::engine {

// Who goes first when not all can. One that waits rises by a class each EngineLimits::aging.
enum class Priority : uint8_t { kHigh, kNormal, kLow };
inline constexpr int kPriorities = 3;

// The time limits of a request. All count from its submission, but for the stall limit.
struct TimeLimits {
  Deadline total;
  std::optional<Duration> first_token{};  // Until the first token is chosen.
  std::optional<Duration> stall{};        // Since the last token (or the start), while its reader keeps up.
};

// How the hidden states of a text become one vector: their mean, or that of the last token.
enum class Pooling : uint8_t { kMean, kLast };

struct Request {
  std::vector<TokenId> prompt;
  GenerationOptions options;
  sampling::SamplingParams sampling;
  TimeLimits limits;
  Priority priority = Priority::kNormal;
  // So many answers to the one prompt, each with a stream and a result of its own; the sampling seed is one higher for
  // each. Their limits are the same, and cancelling one cancels all.
  int answers = 1;
  bool speculate = true;  // Drafts may be made of its text: its answer is the same, token by token.
  int top_logprobs = -1;  // Of how many of the likeliest tokens the log probability is wanted; -1: not even its own.
  std::vector<Stage> stages{};  // Empty: one stage, "normal", without a limit of its own.
  // Not an answer is wanted, but the vector of the prompt. Its tokens are all computed, and taken over by nobody.
  std::optional<Pooling> pooling{};
  // Its reader has no use for parts of an answer: it is told when half of what the stream holds is there, and of the
  // end.
  bool wants_whole = false;
  // Called after each piece and after the end, on the engine's thread or, where that hangs, on the watchdog's: must
  // return at once. May be empty.
  std::function<void()> on_ready{};
};

inline constexpr int kTopLogprobsMax = 20;
inline constexpr int kAnswersMax = 32;

// kInvalidArgument, with what is allowed: an empty prompt or one that does not fit into the context, a token outside
// the vocabulary, an option out of range, a grammar for another vocabulary.
Status check_request(const Request& request, int context, int vocabulary);

// Which limit made a request end with kDeadline.
enum class PassedLimit : uint8_t { kNone, kTotal, kFirstToken, kStall, kStages };
const char* passed_limit_name(PassedLimit limit);  // "none", "total", "first_token", "stall", "stages"

struct RequestResult {
  FinishReason finish_reason = FinishReason::kFailed;
  PassedLimit passed_limit = PassedLimit::kNone;     // With kDeadline.
  CancelReason cancel_reason = CancelReason::kNone;  // With kCancelled.
  std::optional<Error> error{};                      // With kFailed.
  std::string stage{};                               // That answered, or ran when the request ended.
  int arm = -1;  // Which of two settings of the KV cache it had: 0, or 1 for the other; -1: none were compared.
  int prompt_tokens = 0;
  int cached_tokens = 0;    // Of the prompt, taken over from earlier requests or from another answer to it.
  int computed_tokens = 0;  // Of prompt, answer and drafts; more than once where pages had to be given up.
  int generated_tokens = 0;
  int drafted_tokens = 0;   // By speculation, computed with the others,
  int accepted_tokens = 0;  // and those of them that are part of the answer.
  // Negative log-likelihood of generated tokens under the model, before any sampling setting, in nats; of how many.
  double nll = 0;
  int nll_tokens = 0;
  // Of its pages when it ended, or was last given pages: at each level, and the divergence expected of lowering them.
  std::array<int, kv::kLevelCount> kv_pages{};
  uint64_t kv_bytes = 0;
  uint64_t kv_bytes_f16 = 0;
  std::optional<double> kv_expected_divergence{};
  std::vector<float> embedding{};  // Of unit length, where one was asked for and the request ended with kStop.
  Instant submitted{};
  Instant ended{};
  std::optional<Instant> started{};      // First given pages.
  std::optional<Instant> first_token{};  // Chosen.
  std::optional<Instant> last_token{};
};

}  // namespace infer::engine
