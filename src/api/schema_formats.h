// The formats of strings that a schema may name, as patterns. What they describe is narrower than the standards allow
// (no February 29th, no compressed IPv6), so that whatever is written is right everywhere.
// Thread safety: const tables.
#pragma once

#include <cstdint>
#include <string_view>

namespace infer::api {

struct StringFormat {
  std::string_view name;
  std::string_view pattern;
  uint32_t shortest = 0;  // In characters.
  uint32_t longest = 0;
};

// Null for a name that is not in the table.
const StringFormat* find_format(std::string_view name);
// A format that JSON Schema defines; others say nothing about which strings are right.
bool is_standard_format(std::string_view name);

}  // namespace infer::api
