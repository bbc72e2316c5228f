// A stable sort that stays within bounds whatever the comparison says: one that fails half-way, or floats with NaN
// among them. (std::sort may run past the end then; clang refuses std::stable_sort of this libstdc++ as deprecated.)
// Thread safety: pure function.
#pragma once

#include <algorithm>
#include <iterator>
#include <utility>
#include <vector>

namespace infer {

// Allocates as much again as `items` takes.
template <class T, class Less>
void merge_sort(std::vector<T>& items, const Less& less) {
  std::vector<T> merged;
  for (size_t width = 1; width < items.size(); width *= 2) {
    merged.clear();
    merged.reserve(items.size());
    for (size_t begin = 0; begin < items.size(); begin += 2 * width) {
      const auto first = std::make_move_iterator(items.begin() + static_cast<std::ptrdiff_t>(begin));
      const auto middle = first + static_cast<std::ptrdiff_t>(std::min(width, items.size() - begin));
      const auto last = first + static_cast<std::ptrdiff_t>(std::min(2 * width, items.size() - begin));
      std::merge(first, middle, middle, last, std::back_inserter(merged), less);
    }
    items.swap(merged);
  }
}

}  // namespace infer
