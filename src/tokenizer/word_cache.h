// Remembers where in the output the tokens of a word already stand, so that a frequent word is merged once per text.
// Direct-mapped: a new word replaces the one in its place. The words must stay where they are while the cache lives.
// Thread safety: one object per encode call.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "tokenizer/text_hash.h"

namespace infer::tokenizer {

class WordCache {
 public:
  // Off until enabled, for short texts filling the table costs more than it saves; the longer the text, the larger.
  void enable(size_t text_bytes) {
    entries_.assign(std::bit_ceil(std::clamp(text_bytes / 8, kEntriesMin, kEntriesMax)), Entry{});
  }

  // Appends the tokens of an equal word from earlier in `out` to it; false when there is none.
  bool repeat(std::string_view word, std::vector<TokenId>& out) const {
    if (!takes(word)) return false;
    const Entry& entry = entries_[hash_text(word) & (entries_.size() - 1)];
    if (std::string_view(entry.word, entry.size) != word) return false;
    for (uint32_t i = 0; i < entry.count; ++i) out.push_back(out[entry.out_begin + i]);
    return true;
  }

  // The tokens of `word` are out[out_begin, end).
  void remember(std::string_view word, size_t out_begin, const std::vector<TokenId>& out) {
    if (!takes(word) || out.size() > UINT32_MAX) return;
    entries_[hash_text(word) & (entries_.size() - 1)] = {word.data(), static_cast<uint32_t>(out_begin),
                                                         static_cast<uint16_t>(word.size()),
                                                         static_cast<uint16_t>(out.size() - out_begin)};
  }

 private:
  static constexpr size_t kEntriesMin = 512;
  static constexpr size_t kEntriesMax = 8192;
  static constexpr size_t kMaxWordBytes = 32;

  struct Entry {  // 16 bytes, so that the table leaves room in the second-level cache.
    const char* word = nullptr;
    uint32_t out_begin = 0;
    uint16_t size = 0;   // Of the word; no word is empty.
    uint16_t count = 0;  // Of its tokens, at most one per byte.
  };

  bool takes(std::string_view word) const { return !entries_.empty() && word.size() <= kMaxWordBytes; }

  std::vector<Entry> entries_;
};

}  // namespace infer::tokenizer
