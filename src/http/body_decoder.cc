#include "http/body_decoder.h"

#include <algorithm>
#include <utility>

#include "base/format.h"
#include "http/syntax.h"

namespace infer::http {

namespace {

constexpr size_t kSizeLineBytesMax = 256;
constexpr size_t kTrailerBytesMax = 8 << 10;

// The length of what `text` starts with up to the first of `ends`.
size_t length_before(std::string_view text, std::string_view ends) {
  return std::min(text.find_first_of(ends), text.size());
}

// Whether `text` is *( ";" token [ "=" ( token / quoted-string ) ] ), RFC 9112 section 7.1.1 without spaces.
bool are_extensions(std::string_view text) {
  while (!text.empty()) {
    if (text.front() != ';') return false;
    text.remove_prefix(1);
    const size_t name = length_before(text, ";=");
    if (!is_token(text.substr(0, name))) return false;
    text.remove_prefix(name);
    if (!text.starts_with('=')) continue;
    text.remove_prefix(1);
    if (!text.starts_with('"')) {
      const size_t value = length_before(text, ";");
      if (!is_token(text.substr(0, value))) return false;
      text.remove_prefix(value);
      continue;
    }
    size_t end = 1;
    while (end < text.size() && text[end] != '"') end += text[end] == '\\' ? 2 : 1;
    if (end >= text.size()) return false;
    text.remove_prefix(end + 1);
  }
  return true;
}

}  // namespace

BodyDecoder::BodyDecoder(Framing framing, uint64_t bytes_max) : state_(State::kDone), bytes_max_(bytes_max) {
  switch (framing.kind) {
    case Framing::Kind::kNone: break;
    case Framing::Kind::kChunked: state_ = State::kSizeLine; break;
    case Framing::Kind::kUntilClose: state_ = State::kUntilClose; break;
    case Framing::Kind::kLength:
      state_ = framing.length > 0 ? State::kLength : State::kDone;
      left_ = framing.length;
      if (left_ > bytes_max_) refuse(413, format("the body of {} bytes is over the limit of {}", left_, bytes_max_));
      break;
  }
}

void BodyDecoder::refuse(int status, std::string message) {
  refusal_ = Refusal{status, std::move(message)};
  state_ = State::kDone;
}

size_t BodyDecoder::decode(std::string_view bytes, std::string& body) {
  size_t used = 0;
  while (used < bytes.size() && state_ != State::kDone) {
    const std::string_view rest = bytes.substr(used);
    switch (state_) {
      case State::kLength: used += take_data(rest, body, State::kDone); break;
      case State::kData: used += take_data(rest, body, State::kDataEnd); break;
      case State::kUntilClose:
        left_ = rest.size();
        used += take_data(rest, body, State::kUntilClose);
        break;
      default: used += take_line_byte(rest.front()); break;
    }
  }
  return used;
}

size_t BodyDecoder::take_data(std::string_view bytes, std::string& body, State next) {
  const auto taken = static_cast<size_t>(std::min<uint64_t>(left_, bytes.size()));
  if (total_ + taken > bytes_max_) {
    refuse(413, format("the body is over the limit of {} bytes", bytes_max_));
    return 0;
  }
  body.append(bytes.substr(0, taken));
  left_ -= taken;
  total_ += taken;
  if (left_ == 0) state_ = next;
  return taken;
}

// One byte of a line: the size of a chunk, the CR LF behind its data, or a trailer.
size_t BodyDecoder::take_line_byte(char byte) {
  if (byte == '\n') {
    if (line_.empty() || line_.back() != '\r') {
      refuse(400, "lines of a chunked body must end in CR LF");
    } else {
      line_.pop_back();
      end_line();
      line_.clear();
    }
    return 1;
  }
  const size_t limit = state_ == State::kTrailer ? kTrailerBytesMax - trailer_bytes_ : kSizeLineBytesMax;
  if (!line_.empty() && line_.back() == '\r') {
    refuse(400, "a CR stands alone in a line of a chunked body");
  } else if (byte != '\r' && (!is_field_byte(byte) || state_ == State::kDataEnd)) {
    refuse(400, "a chunk is longer than it says, or has a control byte in its size line");
  } else if (line_.size() >= limit) {
    refuse(state_ == State::kTrailer ? 431 : 400, "a line of a chunked body is too long");
  } else {
    line_ += byte;
  }
  return 1;
}

void BodyDecoder::end_line() {
  if (state_ == State::kDataEnd) {
    state_ = State::kSizeLine;
  } else if (state_ == State::kTrailer) {
    if (line_.empty()) {
      state_ = State::kDone;
      return;
    }
    trailer_bytes_ += line_.size();
    Headers dropped;
    if (auto refused = parse_fields(line_, 1, dropped)) refuse(refused->status, std::move(refused->message));
  } else {
    const std::string_view line = line_;
    const size_t digits = length_before(line, ";");
    const auto size = parse_hex(line.substr(0, digits));
    if (!size || !are_extensions(line.substr(digits))) {
      refuse(400, "the size line of a chunk is not a hexadecimal number with or without extensions");
    } else if (*size > bytes_max_ - total_) {
      refuse(413, format("the body is over the limit of {} bytes", bytes_max_));
    } else {
      left_ = *size;
      state_ = *size > 0 ? State::kData : State::kTrailer;
    }
  }
}

}  // namespace infer::http
