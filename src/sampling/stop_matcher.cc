#include "sampling/stop_matcher.h"

#include <algorithm>

#include "base/format.h"

namespace infer::sampling {

namespace {

std::vector<uint32_t> fallback_table(std::string_view text) {
  std::vector<uint32_t> table(text.size() + 1, 0);
  uint32_t border = 0;
  for (size_t i = 1; i < text.size(); ++i) {
    while (border > 0 && text[i] != text[border]) border = table[border];
    if (text[i] == text[border]) ++border;
    table[i + 1] = border;
  }
  return table;
}

}  // namespace

Result<StopMatcher> StopMatcher::make(const std::vector<std::string>& stops) {
  if (stops.size() > kStopsMax) {
    return Error{ErrorCode::kInvalidArgument,
                 format("stop: {} stop strings are more than the limit of {}", stops.size(), kStopsMax)};
  }
  StopMatcher out;
  size_t longest = 0;
  for (size_t i = 0; i < stops.size(); ++i) {
    if (stops[i].empty()) {
      return Error{ErrorCode::kInvalidArgument, format("stop: string {} is empty; leave it out", i)};
    }
    if (stops[i].size() > kStopBytesMax) {
      return Error{ErrorCode::kInvalidArgument, format("stop: string {} has {} bytes, more than the limit of {}", i,
                                                       stops[i].size(), kStopBytesMax)};
    }
    out.stops_.push_back(Stop{stops[i], fallback_table(stops[i])});
    longest = std::max(longest, stops[i].size());
  }
  out.held_.reserve(longest);
  return out;
}

void StopMatcher::Stop::advance(char byte) {
  while (matched > 0 && text[matched] != byte) matched = fallback[matched];
  if (text[matched] == byte) ++matched;
}

std::optional<size_t> StopMatcher::advance_all(char byte) {
  std::optional<size_t> complete;
  for (size_t i = 0; i < stops_.size(); ++i) {
    Stop& stop = stops_[i];
    stop.advance(byte);
    if (stop.matched != stop.text.size()) continue;
    if (!complete || stop.text.size() > stops_[*complete].text.size()) complete = i;
  }
  return complete;
}

size_t StopMatcher::longest_partial_match() const {
  uint32_t longest = 0;
  for (const Stop& stop : stops_) longest = std::max(longest, stop.matched);
  return longest;
}

std::optional<size_t> StopMatcher::push(std::string_view text, std::string& released) {
  if (found_) return found_;
  for (size_t i = 0; i < text.size(); ++i) {
    found_ = advance_all(text[i]);
    if (!found_) continue;
    // The text before the stop ends within `text`, or within what was held.
    const size_t seen = held_.size() + i + 1;
    const size_t before = seen - stops_[*found_].text.size();
    released.append(held_, 0, before);
    if (before > held_.size()) released.append(text.substr(0, before - held_.size()));
    held_.clear();
    return found_;
  }
  const size_t hold = longest_partial_match();
  const size_t release = held_.size() + text.size() - hold;
  released.append(held_, 0, release);
  if (release >= held_.size()) {
    released.append(text.substr(0, release - held_.size()));
    held_.assign(text.substr(release - held_.size()));
  } else {
    held_.erase(0, release);
    held_.append(text);
  }
  return std::nullopt;
}

void StopMatcher::finish(std::string& released) {
  released += held_;
  held_.clear();
  for (Stop& stop : stops_) stop.matched = 0;
}

}  // namespace infer::sampling
