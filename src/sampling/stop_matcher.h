// Finds stop strings in output that arrives in pieces, and holds back exactly the text that may still become one.
//
// The stop that ends first wins; of several that end at the same byte, the longest. Text before it is released, the
// stop and what follows it never. How the text is cut into pieces changes nothing. Matching is by bytes: whole UTF-8
// characters in, and stops that are whole characters, give whole characters out.
// Cost: one step of each stop's automaton per byte. Thread safety: one sequence, one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace infer::sampling {

class StopMatcher {
 public:
  static constexpr size_t kStopsMax = 64;
  static constexpr size_t kStopBytesMax = 4096;  // Of one stop string.

  // kInvalidArgument, naming number or size, for an empty stop, too many or too long ones.
  static Result<StopMatcher> make(const std::vector<std::string>& stops);

  // Appends to `released` what is now certain to be output. Returns the index of the stop when one has been found: then
  // the sequence is over, and further text is ignored.
  std::optional<size_t> push(std::string_view text, std::string& released);
  // The sequence ended otherwise: what is still held was output after all.
  void finish(std::string& released);

  std::optional<size_t> found() const { return found_; }
  size_t held_bytes() const { return held_.size(); }

 private:
  // Knuth, Morris and Pratt: `matched` bytes of `text` are the end of what was seen; fallback[n] is the longest proper
  // end of text[0, n) that is also its beginning.
  struct Stop {
    std::string text;
    std::vector<uint32_t> fallback;
    uint32_t matched = 0;

    void advance(char byte);
  };

  StopMatcher() = default;
  // Feeds one byte to every stop; returns the longest that is now complete.
  std::optional<size_t> advance_all(char byte);
  size_t longest_partial_match() const;

  std::vector<Stop> stops_;
  std::string held_;  // The end of the text that is the beginning of a stop.
  std::optional<size_t> found_;
};

}  // namespace infer::sampling
