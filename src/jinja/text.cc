#include "jinja/text.h"

#include <algorithm>

namespace infer::jinja {

Text::Text(std::string bytes, Origin origin) : bytes_(std::move(bytes)) {
  if (!bytes_.empty()) runs_.push_back({bytes_.size(), origin});
}

size_t Text::run_at(size_t at) const {
  if (runs_.size() == 1) return 0;
  const auto run = std::upper_bound(runs_.begin(), runs_.end(), at, [](size_t x, const Run& r) { return x < r.end; });
  return static_cast<size_t>(run - runs_.begin());
}

Origin Text::origin_at(size_t at) const { return runs_[run_at(at)].origin; }

void Text::append(std::string_view bytes, Origin origin) {
  if (bytes.empty()) return;
  bytes_.append(bytes);
  if (!runs_.empty() && runs_.back().origin == origin) {
    runs_.back().end = bytes_.size();
  } else {
    runs_.push_back({bytes_.size(), origin});
  }
}

void Text::append(const Text& other, size_t begin, size_t end) {
  const std::string_view bytes = other.bytes_;
  for (size_t run = begin < end ? other.run_at(begin) : 0; begin < end; ++run) {
    const size_t stop = std::min(end, other.runs_[run].end);
    append(bytes.substr(begin, stop - begin), other.runs_[run].origin);
    begin = stop;
  }
}

}  // namespace infer::jinja
