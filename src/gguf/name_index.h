// Names to positions, found by binary search. Sorted rather than hashed: the names come from files that somebody else
// wrote, and no choice of names makes it slow.
// Ownership: borrows the names. Thread safety: const after construction.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace infer::gguf {

class NameIndex {
 public:
  NameIndex() = default;
  // `name_of(i)` for i in [0, count).
  template <class NameOf>
  NameIndex(size_t count, NameOf&& name_of) {
    slots_.reserve(count);
    for (size_t i = 0; i < count; ++i) slots_.emplace_back(name_of(i), static_cast<uint32_t>(i));
    std::sort(slots_.begin(), slots_.end());
  }

  // The positions, in order, of two entries with the same name.
  std::optional<std::pair<size_t, size_t>> duplicate() const {
    const auto it = std::adjacent_find(slots_.begin(), slots_.end(),
                                       [](const Slot& a, const Slot& b) { return a.first == b.first; });
    if (it == slots_.end()) return {};
    return std::pair<size_t, size_t>{it->second, std::next(it)->second};
  }

  std::optional<size_t> find(std::string_view name) const {
    const auto it = std::lower_bound(slots_.begin(), slots_.end(), name,
                                     [](const Slot& slot, std::string_view wanted) { return slot.first < wanted; });
    if (it == slots_.end() || it->first != name) return {};
    return it->second;
  }

 private:
  using Slot = std::pair<std::string_view, uint32_t>;
  std::vector<Slot> slots_;
};

}  // namespace infer::gguf
