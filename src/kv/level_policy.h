// What decides the levels of a sequence's pages: the mode and its numbers.
//
// The recent window, the attention sinks (the first tokens) and the page that is being filled always have 16 bits. In
// the fixed modes all other pages have the mode's level. In the tiered modes each page has a level of its own, by how
// much attention it gets and how much memory there is (kv/level_chooser.h). Thread safety: plain values and pure
// functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "kv/page_pool.h"

namespace infer::kv {

enum class KvMode {
  kF16,         // Nothing is lowered ("disabled" to the control agent).
  kQ8,          // Fixed: 8 bits.
  kQ4,          // Fixed: 4 bits.
  kDynamic,     // Tiered, the default of the control agent: about 30 % of F16.
  kLatency,     // Tiered: the fewest bytes to read for each token, without leaving memory.
  kThroughput,  // Tiered: room for many sequences; what gets no attention may leave memory.
  kQuality,     // Tiered: 8 bits, 4 only where it makes no difference.
};

// "f16", "q8", "q4", and the tiered ones as the control agent calls them: "dynamic", "latency_optimized" ...
std::string_view mode_name(KvMode mode);
// Those, "tiered" for kDynamic and "disabled" for kF16.
std::optional<KvMode> mode_from_name(std::string_view name);
bool is_tiered(KvMode mode);

// Of importance, in 0..1, not increasing: what is at least l1_int8 may keep 16 bits, what is below l2_int4 may go to 4
// bits under pressure, below l3_evict out of memory.
struct LevelThresholds {
  double l1_int8 = 0.7;
  double l2_int4 = 0.5;
  double l3_evict = 0.3;
};

// Importance = attention * a + frequency * b + relevance * c - age * d (kv/importance.h).
struct ImportanceWeights {
  double attention = 0.5;
  double frequency = 0.25;
  double relevance = 0.25;
  double age = 0.1;
};

struct LevelPolicy {
  KvMode mode = KvMode::kF16;
  int recent_window = 64;  // Tokens; a page with any of them stays.
  int sink_tokens = 4;     // Likewise.
  // Of the tiered modes:
  LevelThresholds thresholds{};
  ImportanceWeights weights{};
  double byte_share = 0;               // What lies behind the window may take this share of F16; 0: the mode's own.
  uint64_t memory_limit_bytes = 0;     // Of the whole sequence; 0: none.
  double pressure = 0;                 // Of the machine's memory, 0..1, told from outside.
  std::optional<double> loss_limit{};  // Expected divergence in nats a token that lowering may cost; none: no limit.
  bool may_evict = false;              // Pages may leave memory.
};

// Sets mode and window by a name for users: "safe", "balanced" or "aggressive". False for any other.
bool apply_preset(std::string_view name, LevelPolicy& policy);

// The share that a policy means, and whether its mode lets pages leave memory.
double byte_share(const LevelPolicy& policy);
bool may_evict(const LevelPolicy& policy);

// What `pages` pages of one layer are expected to take at most while steps of `step` tokens are computed: what is in
// the window and what a step brings at 16 bits, the latter with the planes that it is tried with, the rest at the
// mode's level or share. With a limit of loss any page may have 16 bits.
uint64_t layer_bytes_max(const LevelPolicy& policy, const PageShape& shape, int pages, int step);

// Whether the page must have 16 bits in a sequence of `length` tokens: window, sinks, not full.
bool is_pinned(const LevelPolicy& policy, int page_index, int length);

// The level that the fixed modes give to pages that are not pinned.
Level fixed_level(KvMode mode);
// That of a mode in general: of tiered ones the one below 16 bits that most pages have within their bytes.
Level usual_level(const LevelPolicy& policy, const PageShape& shape);

}  // namespace infer::kv
