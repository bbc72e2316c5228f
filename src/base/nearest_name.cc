#include "base/nearest_name.h"

#include <algorithm>
#include <cstddef>
#include <vector>

namespace infer {

std::string nearest_name(std::string_view word, std::span<const std::string> names) {
  std::string best;
  size_t best_distance = std::max<size_t>(1, word.size() / 2) + 1;  // Half of the letters may be wrong.
  for (const std::string& name : names) {
    std::vector<size_t> row(name.size() + 1);  // Levenshtein, one row at a time.
    for (size_t j = 0; j <= name.size(); ++j) row[j] = j;
    for (size_t i = 1; i <= word.size(); ++i) {
      size_t diagonal = row[0];
      row[0] = i;
      for (size_t j = 1; j <= name.size(); ++j) {
        const size_t replaced = diagonal + (word[i - 1] == name[j - 1] ? 0 : 1);
        diagonal = row[j];
        row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
      }
    }
    if (row.back() < best_distance) {
      best_distance = row.back();
      best = name;
    }
  }
  return best;
}

}  // namespace infer
