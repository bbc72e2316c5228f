// Which regular expressions cut a text into words before byte-level BPE merges it, by the name that a GGUF file gives
// in tokenizer.ggml.pre. The names and what they mean are listed in docs/formats/tokenizers.md. Thread safety: constant
// data.
#pragma once

#include <span>
#include <string_view>
#include <vector>

namespace infer::tokenizer {

struct PretokenizerRule {
  // Applied one after the other: each cuts the pieces that the one before left into its matches and what lies between.
  std::span<const std::string_view> patterns;
  bool whole_words = false;  // A word that is a token becomes it without looking at merges.
  bool adds_bos = false;     // Unless tokenizer.ggml.add_bos_token says otherwise.
};

// The rule of a name; nullptr for a name that is not known.
const PretokenizerRule* find_pretokenizer(std::string_view name);

// Sorted; for messages and tests.
std::vector<std::string_view> pretokenizer_names();

inline constexpr std::string_view kMissingNameRule = "default";  // The file names none.
inline constexpr std::string_view kUnknownNameRule = "gpt-2";    // The file names one that is not in the table.

}  // namespace infer::tokenizer
