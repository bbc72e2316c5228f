// One turn of a conversation at the terminal: prompt in, answer out as it grows, a line about its speed at the end.
// Thread safety: one thread.
#pragma once

#include <span>
#include <string>

#include "app/services.h"
#include "base/result.h"
#include "engine/generation.h"

namespace infer::app {

// Generates and, with `stream`, writes the text to standard output as it comes, with a progress line while the prompt
// is read. When standard output fails the turn ends early and the error is returned.
Result<engine::GenerationResult> run_turn(engine::Conversation& conversation, std::span<const TokenId> prompt,
                                          const engine::GenerationOptions& options, const CallContext& call,
                                          bool stream, Services& services);

// "120 tokens, 512.3 tokens/s, first after 21 ms, KV 1.6 MB, prompt of 5 at 900/s": what matters most comes first, as
// narrow terminals cut the end.
std::string summary_line(const engine::GenerationResult& result);

}  // namespace infer::app
