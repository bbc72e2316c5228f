// SentencePiece's precompiled normalization: which character sequences are replaced by which others before text is cut
// into tokens, as a Darts double array with the replacements behind it (tokenizer.ggml.precompiled_charsmap).
//
// Invariants: any table is accepted; indices out of range end a match. Neither sequences nor replacements are longer
// than kTextBytesMax, so that no map makes the work for a byte of text unbounded: not by a table that leads back into
// itself, not by what it writes for it. Ownership: owns its table. Thread safety: const after parse.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace infer::tokenizer {

class CharacterMap {
 public:
  // Unicode's longest replacement (NFKC) has 33 bytes.
  static constexpr size_t kTextBytesMax = 512;

  CharacterMap() = default;  // Replaces nothing.
  // kCorrupt: sizes that contradict each other, a replacement that is too long, or a last one without its end.
  static Result<CharacterMap> parse(std::string_view bytes);

  struct Normalized {
    std::string_view text;  // In the map or in the input.
    size_t consumed;        // Bytes of the input that it stands for, at least one.
  };
  // For the beginning of `text`, which is not empty: the longest sequence that is replaced; else its first character,
  // or U+FFFD for a byte that is none.
  Normalized normalize_next(std::string_view text) const;

 private:
  std::vector<uint32_t> units_;
  std::string replacements_;  // Each ends with NUL.
};

}  // namespace infer::tokenizer
