#include "tokenizer/special_matcher.h"

#include <algorithm>
#include <tuple>

namespace infer::tokenizer {
namespace {

size_t byte_at(std::string_view text, size_t at) { return static_cast<uint8_t>(text[at]); }

bool is_ascii_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

}  // namespace

void SpecialMatcher::finish() {
  std::sort(tokens_.begin(), tokens_.end(),
            [](const Token& a, const Token& b) { return std::tie(a.text, a.id) < std::tie(b.text, b.id); });
  pair_starts_.assign(tokens_.empty() ? 0 : 65536, false);
  for (const Token& token : tokens_) {
    const size_t first = byte_at(token.text, 0);
    starts_[first] = true;
    any_always_ = any_always_ || token.always;
    if (token.text.size() > 1) {
      pair_starts_[first << 8 | byte_at(token.text, 1)] = true;
    } else {
      for (size_t second = 0; second < 256; ++second) pair_starts_[first << 8 | second] = true;
    }
  }
}

const SpecialMatcher::Token* SpecialMatcher::longest_at(std::string_view text, size_t special_bytes) const {
  const auto counts = [special_bytes](const Token& token) {
    return token.always || token.text.size() <= special_bytes;
  };
  // [low, high) are the tokens that share the first `depth` bytes of `text`; the shortest of them come first.
  auto low = tokens_.begin();
  auto high = tokens_.end();
  const Token* longest = nullptr;
  for (size_t depth = 0; low != high; ++depth) {
    for (; low != high && low->text.size() == depth; ++low) {
      const bool is_first = longest == nullptr || longest->text.size() < depth;
      if (counts(*low) && is_first) longest = &*low;
    }
    if (low == high || depth == text.size()) break;
    if (low + 1 == high) {  // One is left: compare the rest at once.
      const bool matches = text.substr(0, low->text.size()) == low->text;
      if (matches && counts(*low)) longest = &*low;
      break;
    }
    const auto byte = static_cast<uint8_t>(text[depth]);
    const auto byte_of = [depth](const Token& token) { return static_cast<uint8_t>(token.text[depth]); };
    low = std::partition_point(low, high, [&](const Token& token) { return byte_of(token) < byte; });
    high = std::partition_point(low, high, [&](const Token& token) { return byte_of(token) == byte; });
  }
  return longest;
}

std::optional<SpecialMatcher::Match> SpecialMatcher::next(std::string_view text, size_t from, bool parse_special,
                                                          std::span<const TextRange> untrusted) const {
  if (tokens_.empty() || (!parse_special && !any_always_)) return std::nullopt;
  auto range =
      std::partition_point(untrusted.begin(), untrusted.end(), [from](const TextRange& r) { return r.end <= from; });
  for (size_t at = from; at < text.size(); ++at) {
    if (range != untrusted.end() && range->end <= at) ++range;
    const size_t first = byte_at(text, at);
    if (!starts_[first]) continue;
    if (at + 1 < text.size() && !pair_starts_[first << 8 | byte_at(text, at + 1)]) continue;
    const size_t trusted_end = range == untrusted.end() ? text.size() : std::max(at, range->begin);
    const Token* token = longest_at(text.substr(at), parse_special ? trusted_end - at : 0);
    if (token == nullptr) continue;
    size_t end = at + token->text.size();
    if (token->eats_whitespace) {
      while (end < text.size() && is_ascii_space(text[end])) ++end;
    }
    return Match{at, end, token->id};
  }
  return std::nullopt;
}

}  // namespace infer::tokenizer
