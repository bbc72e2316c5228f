// One response out of the bytes of a connection, however they are cut.
// Thread safety: one thread.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"
#include "http/body_decoder.h"
#include "http/head.h"

namespace infer::http {

class ResponseReader {
 public:
  // `is_head`: the request was a HEAD, so there is no body whatever the head says.
  ResponseReader(bool is_head, size_t head_bytes_max, size_t head_fields_max, size_t body_bytes_max);

  // What the bytes say; interim responses (1xx) are skipped. kCorrupt for what is not HTTP or over a limit.
  Status receive(std::string_view bytes);
  // The server will send no more: the end of a body that lasts until then, an error in all others.
  Status end();

  bool has_head() const { return has_head_; }
  const ResponseHead& head() const { return head_; }
  bool done() const { return has_head_ && decoder_.done(); }
  // The body that arrived since the last call.
  std::string take_body() { return std::exchange(body_, {}); }

 private:
  Status read_head();

  bool is_head_;
  Limits limits_;
  bool has_head_ = false;
  HeadScanner scanner_;
  std::string input_;
  ResponseHead head_;
  BodyDecoder decoder_{Framing{}, 0};
  std::string body_;
};

}  // namespace infer::http
