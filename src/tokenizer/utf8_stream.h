// Joins the bytes of successive tokens and releases only whole characters, so that a character that two tokens share
// never reaches a terminal or a client in halves.
//
// Invariants: everything returned is well-formed UTF-8; the pieces returned, put together, are the input with each
// maximal ill-formed part replaced by one U+FFFD; at most 3 bytes are held back.
// Thread safety: none, one stream per answer.
#pragma once

#include <string>
#include <string_view>

namespace infer::tokenizer {

class Utf8Stream {
 public:
  // Takes more bytes, returns the characters they complete.
  std::string push(std::string_view bytes);
  // The end of the text: what is held back can no longer be completed. The stream starts afresh.
  std::string flush();

 private:
  std::string held_;  // The start of one character.
};

}  // namespace infer::tokenizer
