#include "engine/draft_lookup.h"

#include <algorithm>

namespace infer::engine {

size_t DraftLookup::slot(std::span<const TokenId> text, size_t last) const {
  uint64_t hash = 0;
  for (size_t i = 0; i < kKeyTokens; ++i) {
    hash = (hash ^ static_cast<uint64_t>(text[last - i])) * 0x9E3779B97F4A7C15ull;
    hash ^= hash >> 32;
  }
  return static_cast<size_t>(hash) & (heads_.size() - 1);
}

void DraftLookup::index_until(std::span<const TokenId> text, size_t end) {
  if (heads_.size() < end) {  // Twice as large as the text at least: all anew.
    size_t size = 1024;
    while (size < 2 * end) size *= 2;
    heads_.assign(size, -1);
    previous_.clear();
  }
  for (size_t i = previous_.size(); i < end; ++i) {
    previous_.push_back(-1);
    if (i + 1 < kKeyTokens) continue;
    int32_t& head = heads_[slot(text, i)];
    previous_[i] = head;
    head = static_cast<int32_t>(i);
  }
}

void DraftLookup::propose(std::span<const TokenId> text, int most, std::vector<TokenId>& draft) {
  draft.clear();
  if (text.size() <= kKeyTokens || most <= 0) return;
  const size_t last = text.size() - 1;
  index_until(text, last);
  size_t best = 0, agreement = kKeyTokens - 1;
  int32_t at = heads_[slot(text, last)];
  int looked = 0;
  for (int steps = 0; at >= 0 && looked < kCandidates && steps < kStepsMax; ++steps) {
    const auto candidate = static_cast<size_t>(at);
    size_t equal = 0;
    while (equal < kAgreementMax && equal <= candidate && text[candidate - equal] == text[last - equal]) ++equal;
    at = previous_[candidate];
    looked += equal >= kKeyTokens ? 1 : 0;  // Else another key has the same hash.
    if (equal > agreement) {
      agreement = equal;
      best = candidate;
    }
  }
  if (agreement < kKeyTokens) return;
  // Where the earlier place runs into the end of the text, the text repeats itself, and so does the draft.
  for (size_t next = best + 1; draft.size() < static_cast<size_t>(most); ++next) {
    draft.push_back(next < text.size() ? text[next] : draft[next - text.size()]);
  }
}

}  // namespace infer::engine
