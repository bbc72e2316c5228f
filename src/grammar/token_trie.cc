#include "grammar/token_trie.h"

#include <algorithm>
#include <array>
#include <limits>

namespace infer::grammar {
namespace {

constexpr std::array<uint8_t, 256> make_groups() {
  std::array<uint8_t, 256> groups{};
  uint8_t next = 1;  // 0: control characters, which hardly any text may hold.
  for (int byte = 0x20; byte < 0x7F; ++byte) {
    const bool is_letter = (byte >= 'g' && byte <= 'z') || (byte >= 'G' && byte <= 'Z');
    const bool is_hex = (byte >= 'a' && byte <= 'f') || (byte >= 'A' && byte <= 'F');
    const bool is_digit = byte >= '0' && byte <= '9';
    if (!is_letter && !is_hex && !is_digit) groups[static_cast<size_t>(byte)] = next++;  // 33 of them.
  }
  for (const char byte : {'\n', '\t', '\r'}) groups[static_cast<size_t>(byte)] = next++;
  const auto set = [&groups](int first, int last, uint8_t group) {
    for (int byte = first; byte <= last; ++byte) groups[static_cast<size_t>(byte)] = group;
  };
  set('0', '0', next++);
  set('1', '9', next++);
  set('a', 'f', next++);
  set('g', 'z', next++);
  set('A', 'F', next++);
  set('G', 'Z', next++);
  for (const char byte : {'e', 'u', 'n', 't', 'E'}) groups[static_cast<size_t>(byte)] = next++;
  groups[0x7F] = next++;
  set(0x80, 0xBF, next++);
  set(0xC0, 0xDF, next++);
  set(0xE0, 0xEF, next++);
  set(0xF0, 0xFF, next++);
  return groups;
}

constexpr std::array<uint8_t, 256> kGroups = make_groups();
static_assert(*std::max_element(kGroups.begin(), kGroups.end()) < 64);

}  // namespace

uint8_t TokenTrie::byte_group(uint8_t byte) { return kGroups[byte]; }

TokenTrie TokenTrie::build(int vocabulary_size, const std::function<std::string(TokenId)>& piece,
                           std::span<const TokenId> ends) {
  TokenTrie trie;
  const auto size = static_cast<size_t>(vocabulary_size);
  trie.all_ = TokenMask(size);
  trie.end_mask_ = TokenMask(size);
  trie.ends_.assign(ends.begin(), ends.end());
  for (const TokenId token : ends) trie.end_mask_.add(token);
  trie.copy_pieces(piece);
  trie.add_nodes();
  trie.note_groups();
  return trie;
}

void TokenTrie::copy_pieces(const std::function<std::string(TokenId)>& piece) {
  piece_begins_.push_back(0);
  for (TokenId token = 0; token < vocabulary_size(); ++token) {
    const std::string text = end_mask_.contains(token) ? "" : piece(token);
    // A longer one could not be told from its beginning by a node's depth; no vocabulary has any.
    if (!text.empty() && text.size() <= std::numeric_limits<uint16_t>::max()) {
      bytes_ += text;
      all_.add(token);
      tokens_.push_back(token);
      longest_ = std::max(longest_, static_cast<uint32_t>(text.size()));
    }
    piece_begins_.push_back(static_cast<uint32_t>(bytes_.size()));
  }
}

// Sorted by their bytes, tokens stand in the order of the tree: each adds the nodes that it does not share with the
// one before.
void TokenTrie::add_nodes() {
  std::sort(tokens_.begin(), tokens_.end(), [this](TokenId a, TokenId b) {
    const std::string_view x = piece(a), y = piece(b);
    return x != y ? x < y : a < b;
  });
  std::vector<uint32_t> path{0};  // The nodes of the last token.
  nodes_.push_back({});
  std::string_view last;
  const auto close_to = [&](size_t depth) {
    while (path.size() > depth + 1) {
      nodes_[path.back()].end = static_cast<uint32_t>(nodes_.size());
      path.pop_back();
    }
  };
  for (size_t place = 0; place < tokens_.size(); ++place) {
    const std::string_view text = piece(tokens_[place]);
    const auto shared =
        static_cast<size_t>(std::mismatch(text.begin(), text.end(), last.begin(), last.end()).first - text.begin());
    if (shared < text.size()) close_to(shared);
    for (size_t depth = path.size(); depth <= text.size(); ++depth) {
      path.push_back(static_cast<uint32_t>(nodes_.size()));
      nodes_.push_back({.end = 0,
                        .first_place = static_cast<uint32_t>(place),
                        .depth = static_cast<uint16_t>(depth),
                        .byte = static_cast<uint8_t>(text[depth - 1])});
    }
    last = text;
  }
  close_to(0);
  nodes_[0].end = static_cast<uint32_t>(nodes_.size());
  nodes_.push_back({.end = 0, .first_place = static_cast<uint32_t>(tokens_.size())});
}

void TokenTrie::note_groups() {
  for (size_t i = node_count(); i-- > 0;) {
    uint64_t groups = 0;
    for (uint32_t child = static_cast<uint32_t>(i) + 1; child < nodes_[i].end; child = nodes_[child].end) {
      groups |= nodes_[child].groups_below | uint64_t{1} << byte_group(nodes_[child].byte);
    }
    nodes_[i].groups_below = groups;
  }
}

}  // namespace infer::grammar
