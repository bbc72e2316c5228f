#include "tokenizer/whole_characters.h"

#include <algorithm>
#include <limits>

#include "base/utf8.h"

namespace infer::tokenizer {
namespace {

constexpr size_t kCodes = 0x10000;  // Those of up to three bytes.

bool is_continuation(char byte) { return (static_cast<uint8_t>(byte) & 0xC0) == 0x80; }

void note(std::unordered_map<std::string, uint32_t>& earliest, std::string_view bytes, uint32_t priority) {
  const auto [place, is_first] = earliest.try_emplace(std::string(bytes), priority);
  if (!is_first) place->second = std::min(place->second, priority);
}

struct Joined {
  TokenId token;      // kNoToken: the bytes do not become one.
  uint32_t priority;  // Of the last merge.
};

Joined merge_alone(std::string_view character, const MergeTable& merges, const std::array<TokenId, 256>& byte_tokens) {
  std::vector<TokenId> symbols;
  for (const char byte : character) symbols.push_back(byte_tokens[static_cast<uint8_t>(byte)]);
  uint32_t last = 0;
  while (symbols.size() > 1) {
    size_t best = 0;
    Merge best_merge{0, kNoToken};
    for (size_t i = 0; i + 1 < symbols.size(); ++i) {
      const Merge merge = merges.find(symbols[i], symbols[i + 1]);
      if (merge.id == kNoToken || (best_merge.id != kNoToken && merge.priority >= best_merge.priority)) continue;
      best = i;
      best_merge = merge;
    }
    if (best_merge.id == kNoToken) return {kNoToken, 0};
    symbols[best] = best_merge.id;
    symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(best) + 1);
    last = std::max(last, best_merge.priority);
  }
  return {symbols[0], last};
}

}  // namespace

void WholeCharacters::add_merge(std::string_view result, uint32_t priority) {
  if (std::all_of(result.begin(), result.end(), [](char byte) { return static_cast<uint8_t>(byte) < 0x80; })) return;
  size_t at = 0;
  while (at < result.size() && is_continuation(result[at])) ++at;
  if (at == result.size()) return;  // Inside of one character.
  if (at > 0) note(suffixes_, result.substr(0, at), priority);
  const size_t first = at;
  while (at < result.size()) {
    const Utf8Char next = first_utf8_char(result.substr(at));
    const std::string_view bytes = result.substr(at, next.length);
    if (next.state == Utf8State::kIncomplete && at > 0) note(prefixes_, bytes, priority);
    if (next.state == Utf8State::kWhole && next.length > 1) {
      if (first == 0 && next.length == result.size()) {
        made_.emplace_back(bytes);
      } else {
        note(uses_, std::string(bytes), priority);
      }
    }
    at += next.length;
  }
}

uint32_t WholeCharacters::earliest_rival(const std::string& character) const {
  uint32_t earliest = std::numeric_limits<uint32_t>::max();
  const auto look = [&](const Earliest& among, const std::string& bytes) {
    const auto found = among.find(bytes);
    if (found != among.end()) earliest = std::min(earliest, found->second);
  };
  look(uses_, character);
  for (size_t size = 1; size < character.size(); ++size) {
    look(prefixes_, character.substr(0, size));
    look(suffixes_, character.substr(character.size() - size));
  }
  return earliest;
}

void WholeCharacters::finish(const MergeTable& merges, const std::array<TokenId, 256>& byte_tokens) {
  if (!made_.empty()) tokens_.assign(kCodes, kNoToken);
  for (const std::string& character : made_) {
    if (character.size() > 3) continue;
    const Joined joined = merge_alone(character, merges, byte_tokens);
    if (joined.token == kNoToken || joined.priority >= earliest_rival(character)) continue;
    uint32_t code = static_cast<uint8_t>(character[0]) & (character.size() == 2 ? 0x1Fu : 0x0Fu);
    for (size_t i = 1; i < character.size(); ++i) code = code << 6 | (static_cast<uint8_t>(character[i]) & 0x3Fu);
    tokens_[code] = joined.token;
  }
  prefixes_ = {};
  suffixes_ = {};
  uses_ = {};
  made_ = {};
}

}  // namespace infer::tokenizer
