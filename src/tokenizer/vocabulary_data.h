// What a model file says about its tokenizer, unchecked: the input of make_tokenizer(). Tests and the fuzzer fill it by
// hand, Tokenizer::from_gguf from tokenizer.ggml.*.
// Ownership: borrows all text but the character map; it need live only until make_tokenizer() returns. Thread safety: a
// plain value.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "base/result.h"
#include "tokenizer/tokenizer.h"

namespace infer::tokenizer {

struct VocabularyData {
  std::string_view model;               // "gpt2", "llama", "t5"
  std::optional<std::string_view> pre;  // The pre-tokenizer's name.
  std::vector<std::string_view> tokens;
  std::vector<float> scores;             // One per token, or none.
  std::vector<int64_t> kinds;            // GGUF's token types, one per token, or none.
  std::vector<std::string_view> merges;  // "left right", best first.
  std::optional<int64_t> bos, eos, unknown, end_of_turn, end_of_message;
  std::optional<bool> add_bos, add_eos, add_space_prefix, remove_extra_whitespaces;
  std::string character_map;  // Of "t5": SentencePiece's precompiled normalization; "": none.
  bool has_merges = false;    // Says whether the file has the array at all; it may be empty.
  // Phi-3: whitespace after a special token belongs to that token and is dropped.
  bool special_tokens_eat_whitespace = false;
};

// kUnsupported names an unknown model, kCorrupt what is inconsistent; oddities that have a defined meaning are
// warnings.
Result<std::unique_ptr<Tokenizer>> make_tokenizer(const VocabularyData& data, Log& log);

}  // namespace infer::tokenizer
