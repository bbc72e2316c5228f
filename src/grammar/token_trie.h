// The bytes of a vocabulary's tokens as a tree of common beginnings, laid out so that it is walked front to back.
//
// Node 0 is the root; every other node is one byte below its parent; the nodes below a node follow it directly. Tokens
// are numbered a second time in the order of the tree ("places"), so that those below a node are a range of places.
// Tokens without bytes are not part of it.
// Ownership: owns all. Thread safety: const after build(), shared freely.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/ids.h"
#include "grammar/token_mask.h"

namespace infer::grammar {

class TokenTrie {
 public:
  // `piece` gives the bytes that a token adds to a text; "" for a token that no text may contain. `ends`: the tokens
  // that end a text; they are not part of the tree whatever their bytes.
  static TokenTrie build(int vocabulary_size, const std::function<std::string(TokenId)>& piece,
                         std::span<const TokenId> ends);

  struct Node {
    uint32_t end = 0;          // The first node behind those below this one.
    uint32_t first_place = 0;  // Of its tokens; those of the next node begin where they end.
    uint16_t depth = 0;        // Bytes from the root.
    uint8_t byte = 0;
    uint64_t groups_below = 0;  // The groups of the bytes below this node.
  };

  // Some 60 groups of bytes, chosen so that the bytes which texts like JSON treat alike are in few: a bit each.
  static uint8_t byte_group(uint8_t byte);

  std::span<const Node> nodes() const { return nodes_; }  // And one more behind the last, for its first_place.
  size_t node_count() const { return nodes_.size() - 1; }
  std::span<const TokenId> tokens() const { return tokens_; }  // By place.
  const TokenMask& all() const { return all_; }                // Those that are in the tree.
  std::span<const TokenId> ends() const { return ends_; }
  int vocabulary_size() const { return static_cast<int>(all_.size()); }
  uint32_t longest() const { return longest_; }  // In bytes.
  // The bytes of a token; "" when it is not in the tree.
  std::string_view piece(TokenId token) const {
    const auto t = static_cast<size_t>(token);
    return std::string_view(bytes_).substr(piece_begins_[t], piece_begins_[t + 1] - piece_begins_[t]);
  }
  bool ends_text(TokenId token) const { return end_mask_.contains(token); }

 private:
  TokenTrie() = default;
  void copy_pieces(const std::function<std::string(TokenId)>& piece);
  void add_nodes();
  void note_groups();

  std::vector<Node> nodes_;
  std::vector<TokenId> tokens_;
  std::string bytes_;
  std::vector<uint32_t> piece_begins_;
  TokenMask all_;
  TokenMask end_mask_;
  std::vector<TokenId> ends_;
  uint32_t longest_ = 0;
};

}  // namespace infer::grammar
