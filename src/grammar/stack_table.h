// Sets of call stacks of a grammar's machine, each set stored once: equal sets have equal ids.
//
// A set is a list of frames, sorted, no two alike but for what lies below; below each frame lies again a set. Rounds of
// one repetition above the same set that touch (2 to 5 and 4 to 9 to go) are one frame. So the
// stacks of all ways to read a text share what they have in common, and their number may be exponential while their
// size is not. Ids are valid until clear().
// Thread safety: one thread. Ownership: owns all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

namespace infer::grammar {

using StackId = uint32_t;

struct Frame {
  uint32_t target = 0;  // Where to go on: a node; a repetition, with kRepetitionBit; or kBottom.
  uint32_t least = 0;   // Of a repetition: rounds that must follow,
  uint32_t most = 0;    // and may follow; kUnbounded.
  StackId below = 0;

  bool operator==(const Frame&) const = default;
};

class StackTable {
 public:
  static constexpr uint32_t kBottom = UINT32_MAX;
  static constexpr uint32_t kRepetitionBit = uint32_t{1} << 31;
  static constexpr StackId kBottomOnly = 0;  // The set of the one empty stack.
  static constexpr uint32_t kDepthMax = 1000;

  StackTable() { clear(); }
  void clear();

  std::span<const Frame> frames(StackId id) const {
    return std::span(frames_).subspan(sets_[id].begin, sets_[id].count);
  }
  uint32_t depth(StackId id) const { return sets_[id].depth; }  // Of the longest stack.
  // The set of these frames, in any order, with duplicates. They are sorted and joined in place.
  StackId intern(std::vector<Frame>& frames);
  StackId unite(StackId a, StackId b);
  size_t bytes() const;

 private:
  struct Set {
    uint32_t begin = 0;
    uint32_t count = 0;
    uint32_t depth = 0;
  };

  bool join_rounds(std::vector<Frame>& frames) const;
  StackId intern_sorted(std::span<const Frame> frames);

  std::vector<Frame> frames_;
  std::vector<Set> sets_;
  std::unordered_multimap<uint64_t, StackId> by_hash_;
  std::unordered_map<uint64_t, StackId> unions_;  // By both ids.
};

}  // namespace infer::grammar
