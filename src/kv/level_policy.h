// Which levels the pages of a sequence should have.
//
// The recent window, the attention sinks (the first tokens) and the page that is being filled always have 16 bits. In
// the fixed modes all other pages have the mode's level. Thread safety: plain values and pure functions.
#pragma once

#include <optional>
#include <string_view>

#include "kv/page_pool.h"

namespace infer::kv {

enum class KvMode { kF16, kQ8, kQ4 };

std::string_view mode_name(KvMode mode);  // "f16", "q8", "q4"
std::optional<KvMode> mode_from_name(std::string_view name);

struct LevelPolicy {
  KvMode mode = KvMode::kF16;
  int recent_window = 64;  // Tokens; a page with any of them stays.
  int sink_tokens = 4;     // Likewise.
};

// The level that a page should have in a sequence of `length` tokens.
Level wanted_level(const LevelPolicy& policy, int page_index, int length);

}  // namespace infer::kv
