// Takes a body out of its framing, over bytes that come piece by piece. Chunks are read strictly: line ends are CR LF,
// sizes are hexadecimal digits, extensions and trailers are bounded and dropped.
// Thread safety: one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "http/head.h"

namespace infer::http {

class BodyDecoder {
 public:
  // Of `framing`, refused with 413 beyond `bytes_max` of decoded body.
  BodyDecoder(Framing framing, uint64_t bytes_max);

  // Appends to `body` what `bytes` hold of it. Returns how many of `bytes` belonged to the body; those behind it belong
  // to the next message. After done() or a refusal it takes nothing.
  size_t decode(std::string_view bytes, std::string& body);

  bool done() const { return state_ == State::kDone; }
  const std::optional<Refusal>& refusal() const { return refusal_; }

 private:
  enum class State { kLength, kUntilClose, kSizeLine, kData, kDataEnd, kTrailer, kDone };

  size_t take_data(std::string_view bytes, std::string& body, State next);
  size_t take_line_byte(char byte);
  void end_line();
  void refuse(int status, std::string message);

  State state_;
  uint64_t left_ = 0;   // Of the body or of the chunk.
  uint64_t total_ = 0;  // Decoded so far.
  uint64_t bytes_max_;
  std::string line_;  // The size line or trailer under way.
  size_t trailer_bytes_ = 0;
  std::optional<Refusal> refusal_;
};

}  // namespace infer::http
