#include "tokenizer/piece_trie.h"

#include <algorithm>
#include <tuple>

namespace infer::tokenizer {

PieceTrie PieceTrie::build(std::vector<Piece> pieces) {
  std::sort(pieces.begin(), pieces.end(),
            [](const Piece& a, const Piece& b) { return std::tie(a.text, a.id) < std::tie(b.text, b.id); });
  // The pieces that begin with the bytes of a node, which has `depth` of them.
  struct Range {
    size_t begin;
    size_t end;
    size_t depth;
  };
  PieceTrie trie;
  std::vector<Range> ranges{{0, pieces.size(), 0}};  // One for each node, in the same order.
  for (size_t node = 0; node < ranges.size(); ++node) {
    auto [begin, end, depth] = ranges[node];
    while (begin < end && pieces[begin].text.size() == depth) {  // Shorter texts stand before those that they begin.
      if (depth > 0 && trie.nodes_[node].id == kNoToken) trie.nodes_[node].id = pieces[begin].id;
      ++begin;
    }
    const size_t first_child = trie.nodes_.size();
    while (begin < end) {
      const char byte = pieces[begin].text[depth];
      size_t next = begin;
      while (next < end && pieces[next].text[depth] == byte) ++next;
      trie.nodes_.emplace_back();
      trie.bytes_.push_back(static_cast<uint8_t>(byte));
      ranges.push_back({begin, next, depth + 1});
      begin = next;
    }
    trie.nodes_[node].first_child = static_cast<uint32_t>(first_child);
    trie.nodes_[node].child_count = static_cast<uint32_t>(trie.nodes_.size() - first_child);
  }
  return trie;
}

}  // namespace infer::tokenizer
