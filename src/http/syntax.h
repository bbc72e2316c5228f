// The small words of HTTP/1.1 (RFC 9110, 9112): tokens, field bytes, numbers, percent-encoding, dates.
// Strict: what the grammar does not allow is refused, even where many servers look the other way, because two parsers
// that differ in leniency are how requests are smuggled.
// Thread safety: pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/time.h"

namespace infer::http {

// RFC 9110 section 5.6.2: letters, digits and !#$%&'*+-.^_`|~, at least one.
bool is_token(std::string_view text);
// A byte of a field value: tab, visible ASCII, space, or 0x80 and above.
bool is_field_byte(char byte);

bool equals_ignoring_case(std::string_view a, std::string_view b);  // ASCII only.
std::string_view trim(std::string_view text);                       // Spaces and tabs at both ends.
// Tokens with commas between them; empty elements are allowed (RFC 9110 section 5.6.1).
bool is_token_list(std::string_view list);
// Whether a comma-separated list has that element, without regard to case.
bool list_contains(std::string_view list, std::string_view element);

// Digits only (1 to 18 of them), no sign, no space.
std::optional<uint64_t> parse_decimal(std::string_view text);
// Hexadecimal digits only (1 to 15 of them).
std::optional<uint64_t> parse_hex(std::string_view text);

enum class PlusMeans { kPlus, kSpace };
// nullopt for an incomplete or wrong escape, and for escaped control bytes.
std::optional<std::string> percent_decode(std::string_view text, PlusMeans plus);

// Takes as long for a wrong guess as for a right one of the same length.
bool equals_in_constant_time(std::string_view secret, std::string_view guess);

// "Sun, 06 Nov 1994 08:49:37 GMT"
std::string http_date(WallTime time);

}  // namespace infer::http
