// The alphabet of GPT-2's byte-level vocabularies: each of the 256 byte values is written as one printable character,
// so that tokens are text. 0x21..0x7E, 0xA1..0xAC and 0xAE..0xFF stand for themselves as code points; the other 68
// values, in order, are U+0100 and up (a space is U+0120).
// Thread safety: pure functions.
#pragma once

#include <string>
#include <string_view>

namespace infer::tokenizer {

// Appends the bytes that `text` spells to `out`. False, with `out` as it was, when a character is not of the alphabet.
bool append_spelled_bytes(std::string_view text, std::string& out);

// The character, in UTF-8, that spells a byte.
std::string spelled_byte(unsigned char byte);

}  // namespace infer::tokenizer
