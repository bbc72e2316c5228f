#include "tokenizer/utf8_stream.h"

#include "base/utf8.h"

namespace infer::tokenizer {
namespace {
constexpr std::string_view kReplacement = "\xEF\xBF\xBD";
}  // namespace

std::string Utf8Stream::push(std::string_view bytes) {
  held_.append(bytes);
  std::string_view rest = held_;
  std::string out;
  while (!rest.empty()) {
    const size_t valid = valid_utf8_prefix(rest);
    out.append(rest.substr(0, valid));
    rest.remove_prefix(valid);
    if (rest.empty()) break;
    const Utf8Char next = first_utf8_char(rest);
    if (next.state == Utf8State::kIncomplete) break;
    out.append(kReplacement);
    rest.remove_prefix(next.length);
  }
  held_.erase(0, held_.size() - rest.size());
  return out;
}

std::string Utf8Stream::flush() {
  const bool has_partial = !held_.empty();
  held_.clear();
  return has_partial ? std::string(kReplacement) : std::string();
}

}  // namespace infer::tokenizer
