#include "http/response_reader.h"

#include <utility>

#include "base/format.h"

namespace infer::http {

namespace {

Error not_http(const Refusal& why) {
  return Error{ErrorCode::kCorrupt, format("the server's answer is not understood: {}", why.message)};
}

}  // namespace

ResponseReader::ResponseReader(bool is_head, size_t head_bytes_max, size_t head_fields_max, size_t body_bytes_max)
    : is_head_(is_head) {
  limits_.head_bytes = head_bytes_max;
  limits_.head_fields = head_fields_max;
  limits_.body_bytes = body_bytes_max;
}

Status ResponseReader::receive(std::string_view bytes) {
  input_.append(bytes);
  while (!has_head_ && !input_.empty()) {
    const size_t before = input_.size();
    INFER_TRY(read_head());
    if (!has_head_ && input_.size() == before) return {};
  }
  input_.erase(0, decoder_.decode(input_, body_));
  if (decoder_.refusal()) return not_http(*decoder_.refusal());
  return {};
}

// Takes a whole head from the input, if one is there.
Status ResponseReader::read_head() {
  const size_t length = scanner_.scan(input_);
  if (scanner_.refusal()) return not_http(*scanner_.refusal());
  if (length > limits_.head_bytes || (length == 0 && input_.size() > limits_.head_bytes)) {
    return not_http({431, format("its head is longer than {} bytes", limits_.head_bytes)});
  }
  if (length == 0) return {};
  head_ = {};
  if (const auto refused = parse_response_head(std::string_view(input_).substr(0, length), limits_, head_)) {
    return not_http(*refused);
  }
  input_.erase(0, length);
  scanner_ = {};
  if (head_.status < 200) {
    if (head_.status == 101) return not_http({400, "it switches to another protocol"});
    return {};
  }
  has_head_ = true;
  if (is_head_) head_.framing = {};
  decoder_ = BodyDecoder(head_.framing, limits_.body_bytes);
  if (decoder_.refusal()) return not_http(*decoder_.refusal());
  return {};
}

Status ResponseReader::end() {
  if (done()) return {};
  if (has_head_ && head_.framing.kind == Framing::Kind::kUntilClose) {
    decoder_ = BodyDecoder(Framing{}, 0);
    return {};
  }
  return Error{ErrorCode::kIo, has_head_ ? "the server closed the connection within its answer"
                                         : "the server closed the connection without an answer"};
}

}  // namespace infer::http
