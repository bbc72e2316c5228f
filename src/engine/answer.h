// What is asked of an answer, and how an answer ended. Plain values.
#pragma once

#include <string>
#include <vector>

namespace infer::engine {

struct GenerationOptions {
  int tokens_max = -1;               // Most tokens to generate in this turn; -1: until the context is full.
  bool ignore_end_tokens = false;    // Go on after an end-of-generation token (measurements).
  std::vector<std::string> stops{};  // Generation ends before any of these; empty strings are refused.
};

enum class FinishReason {
  kStop,    // An end-of-generation token or a stop string.
  kLength,  // tokens_max, or the context is full.
  kDeadline,
  kCancelled,
  kFailed,  // An error, which goes with it.
};
const char* finish_reason_name(FinishReason reason);  // "stop", "length", "deadline", "cancelled", "failed"

}  // namespace infer::engine
