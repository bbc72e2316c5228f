// Remembers where in the output the tokens of a word already stand, so that a frequent word is merged once per text.
// Direct-mapped: a new word replaces the one in its place. The words must stay where they are while the cache lives.
// Thread safety: one object per encode call.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "tokenizer/text_hash.h"

namespace infer::tokenizer {

class WordCache {
 public:
  // Off until enabled: for short texts filling the table costs more than it saves.
  void enable() { entries_.assign(kEntries, Entry{}); }

  // Appends the tokens of an equal word from earlier in `out` to it; false when there is none.
  bool repeat(std::string_view word, std::vector<TokenId>& out) const {
    if (!takes(word)) return false;
    const Entry& entry = entries_[hash_text(word) & (kEntries - 1)];
    if (entry.word != word) return false;
    for (uint32_t i = 0; i < entry.count; ++i) out.push_back(out[entry.out_begin + i]);
    return true;
  }

  // The tokens of `word` are out[out_begin, end).
  void remember(std::string_view word, size_t out_begin, const std::vector<TokenId>& out) {
    if (!takes(word)) return;
    entries_[hash_text(word) & (kEntries - 1)] = {word, out_begin, static_cast<uint32_t>(out.size() - out_begin)};
  }

 private:
  static constexpr size_t kEntries = 8192;
  static constexpr size_t kMaxWordBytes = 32;

  struct Entry {
    std::string_view word;
    size_t out_begin = 0;
    uint32_t count = 0;
  };

  bool takes(std::string_view word) const { return !entries_.empty() && word.size() <= kMaxWordBytes; }

  std::vector<Entry> entries_;
};

}  // namespace infer::tokenizer
