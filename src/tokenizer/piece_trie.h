// Finds all tokens that a text begins with, by walking a byte at a time.
//
// Invariants: children of a node lie side by side, ordered by byte; a walk from the root takes at most as many steps as
// the longest token has bytes. Ownership: owns its nodes, no text. Thread safety: const after build.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

#include "base/ids.h"

namespace infer::tokenizer {

class PieceTrie {
 public:
  struct Piece {
    std::string_view text;  // Not empty.
    TokenId id;
  };

  // Of equal texts the one with the lowest id stays.
  static PieceTrie build(std::vector<Piece> pieces);

  // Calls on_piece(bytes, id) for each token that `text` begins with, the shortest first.
  template <class OnPiece>
  void for_each_prefix(std::string_view text, const OnPiece& on_piece) const {
    uint32_t node = 0;
    for (size_t depth = 0; depth < text.size(); ++depth) {
      const Node& at = nodes_[node];
      const void* found = at.child_count == 0 ? nullptr
                                              : std::memchr(bytes_.data() + at.first_child,
                                                            static_cast<uint8_t>(text[depth]), at.child_count);
      if (found == nullptr) return;
      node = static_cast<uint32_t>(static_cast<const uint8_t*>(found) - bytes_.data());
      if (nodes_[node].id != kNoToken) on_piece(depth + 1, nodes_[node].id);
    }
  }

 private:
  struct Node {
    uint32_t first_child = 0;
    uint32_t child_count = 0;
    TokenId id = kNoToken;
  };

  std::vector<Node> nodes_{Node{}};  // The root first.
  std::vector<uint8_t> bytes_{0};    // By which a node is reached.
};

}  // namespace infer::tokenizer
