#include "grammar/stack_table.h"

#include <algorithm>

#include "base/check.h"
#include "base/hash.h"

namespace infer::grammar {
namespace {

// By all but what lies below.
bool before(const Frame& a, const Frame& b) {
  if (a.target != b.target) return a.target < b.target;
  return a.least != b.least ? a.least < b.least : a.most < b.most;
}

}  // namespace

void StackTable::clear() {
  frames_.clear();
  sets_.clear();
  by_hash_.clear();
  unions_.clear();
  const Frame bottom{.target = kBottom};
  INFER_CHECK(intern_sorted(std::span(&bottom, 1)) == kBottomOnly);
}

size_t StackTable::bytes() const {
  constexpr size_t kMapEntry = 40;  // What a node of a hash map takes, about.
  return frames_.size() * sizeof(Frame) + sets_.size() * (sizeof(Set) + kMapEntry) + unions_.size() * kMapEntry;
}

StackId StackTable::intern_sorted(std::span<const Frame> frames) {
  const uint64_t hash = hash_bytes(frames.data(), frames.size_bytes());
  const auto [first, last] = by_hash_.equal_range(hash);
  for (auto found = first; found != last; ++found) {
    const auto known = this->frames(found->second);
    if (std::equal(known.begin(), known.end(), frames.begin(), frames.end())) return found->second;
  }
  Set set{static_cast<uint32_t>(frames_.size()), static_cast<uint32_t>(frames.size()), 0};
  for (const Frame& frame : frames) {
    if (frame.target != kBottom) set.depth = std::max(set.depth, sets_[frame.below].depth + 1);
  }
  frames_.insert(frames_.end(), frames.begin(), frames.end());
  const auto id = static_cast<StackId>(sets_.size());
  sets_.push_back(set);
  by_hash_.emplace(hash, id);
  return id;
}

// Joins frames of one repetition above one set whose ranges of rounds touch; says whether there were any.
bool StackTable::join_rounds(std::vector<Frame>& frames) const {
  const auto is_repetition = [](const Frame& frame) {
    return frame.target != kBottom && (frame.target & kRepetitionBit) != 0;
  };
  if (std::count_if(frames.begin(), frames.end(), is_repetition) < 2) return false;
  std::sort(frames.begin(), frames.end(), [](const Frame& a, const Frame& b) {
    if (a.target != b.target) return a.target < b.target;
    return a.below != b.below ? a.below < b.below : before(a, b);
  });
  size_t kept = 0;
  for (const Frame frame : frames) {
    Frame* const last = kept > 0 ? &frames[kept - 1] : nullptr;
    const bool touches = last && is_repetition(frame) && last->target == frame.target && last->below == frame.below &&
                         uint64_t{frame.least} <= uint64_t{last->most} + 1;
    if (touches) {
      last->most = std::max(last->most, frame.most);
    } else {
      frames[kept++] = frame;
    }
  }
  const bool joined = kept < frames.size();
  frames.resize(kept);
  return joined;
}

StackId StackTable::intern(std::vector<Frame>& frames) {
  bool joined = false;
  do {  // Each of both may make room for the other; frames become fewer.
    std::sort(frames.begin(), frames.end(), before);
    size_t kept = 0;
    for (const Frame frame : frames) {
      if (kept > 0 && !before(frames[kept - 1], frame)) {
        frames[kept - 1].below = unite(frames[kept - 1].below, frame.below);
      } else {
        frames[kept++] = frame;
      }
    }
    frames.resize(kept);
    joined = join_rounds(frames);
  } while (joined);
  std::sort(frames.begin(), frames.end(), before);
  return intern_sorted(frames);
}

// The recursion goes down the stacks, which kDepthMax bounds.
StackId StackTable::unite(StackId a, StackId b) {
  if (a == b) return a;
  if (a > b) std::swap(a, b);
  const uint64_t key = uint64_t{a} << 32 | b;
  if (const auto found = unions_.find(key); found != unions_.end()) return found->second;
  std::vector<Frame> joined;
  joined.reserve(sets_[a].count + sets_[b].count);
  for (const StackId id : {a, b}) {
    const auto frames = this->frames(id);
    joined.insert(joined.end(), frames.begin(), frames.end());
  }
  const StackId united = intern(joined);
  unions_.emplace(key, united);
  return united;
}

}  // namespace infer::grammar
