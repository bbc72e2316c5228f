// How a model bears lower levels of its KV cache: a short text through three caches side by side, at 16, 8 and 4 bits.
//
// Gives the factors from the losses that levels are expected and seen to cost (kv::SequenceLevels) to the divergence
// that was measured, and floors for layers that would cost too much at 4 bits. Deterministic for a model, instruction
// set and text. Thread safety: one thread (the engine's).
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "base/call_context.h"
#include "base/result.h"
#include "kv/page_pool.h"
#include "model/model.h"
#include "tokenizer/tokenizer.h"

namespace infer::quality {

struct LevelSensitivity {
  int tokens = 0;     // Of the text.
  double kld_q8 = 0;  // Mean divergence from 16 bits, in nats a position.
  double kld_q4 = 0;
  double same_top_q4 = 0;                    // Share of positions with the same most likely token.
  std::optional<double> loss_to_divergence;  // None where nothing was lowered or no loss was foreseen,
  std::optional<double> seen_to_divergence;  // or seen.
  std::vector<double> layer_divergence;      // Expected of each layer alone, were all that it attends to at 4 bits.
  std::vector<kv::Level> floors;             // k8 for layers above kLayerDivergenceMax, else k4.
};

inline constexpr double kLayerDivergenceMax = 1e-3;

// The text that is used where none is given: plain prose that comes back to what it said before.
std::string_view sensitivity_text();

// At most a third of the model's context is used, and 512 tokens. kUnsupported when that is less than 192 tokens: too
// few pages leave the window. kExhausted, kDeadline, kCancelled as Model::run.
Result<LevelSensitivity> measure_sensitivity(model::Model& model, const tokenizer::Tokenizer& tokenizer,
                                             std::string_view text, const CallContext& call);

}  // namespace infer::quality
