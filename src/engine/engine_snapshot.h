// What can be seen of the engine from outside: counts and speeds, published after each step.
// Plain values.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "base/time.h"
#include "engine/request.h"
#include "engine/speculation.h"
#include "engine/step_cost.h"
#include "engine/watchdog.h"
#include "kv/level_policy.h"
#include "kv/page_pool.h"
#include "kv/prefix_store.h"

namespace infer::engine {

// Tokens that speculation drafted, and how many of them were right.
struct DraftCounters {
  uint64_t drafted = 0, accepted = 0;
};

// Since the start.
struct EngineCounters {
  uint64_t requests = 0;                             // Taken in,
  uint64_t requests_tokens = 0;                      // with so many prompt tokens.
  std::array<uint64_t, kFinishReasonCount> ended{};  // By FinishReason.
  uint64_t steps = 0;                                // Computed.
  uint64_t steps_abandoned = 0;                      // Because a limit passed or somebody cancelled.
  uint64_t steps_failed = 0;                         // With an error.
  uint64_t computed_tokens = 0;                      // By the model, of prompts and answers.
  uint64_t prompt_tokens = 0;                        // Of requests that got pages.
  uint64_t cached_tokens = 0;                        // Of those, taken over from earlier requests.
  uint64_t generated_tokens = 0;
  std::array<DraftCounters, kDraftSources> drafts{};  // By DraftSource.
  double nll = 0;                                     // Of generated tokens, in nats; of how many.
  uint64_t nll_tokens = 0;
  uint64_t judged_tokens = 0;  // Those that were measured, and those that they stand for (likelihood_share.h).
  uint64_t parks = 0;          // Requests that gave their pages up and waited again.

  // Of all sources.
  uint64_t drafted_tokens() const { return drafts[0].drafted + drafts[1].drafted; }
  uint64_t accepted_tokens() const { return drafts[0].accepted + drafts[1].accepted; }
};

// The small model that drafts.
struct DraftModelSnapshot {
  uint64_t computed_tokens = 0;  // Texts that it read, and guesses that it went on from.
  Duration time;                 // That it took.
  uint64_t failures = 0;         // Of its steps.
  bool usable = true;            // Not any more after some failures in a row.
  uint64_t kv_bytes = 0;
};

// The KV cache: of running requests and of what is kept for later ones.
struct KvSnapshot {
  kv::LevelPolicy policy;                    // In effect.
  std::array<int, kv::kLevelCount> pages{};  // At each level; a page is 64 tokens of one layer.
  uint64_t bytes = 0;
  uint64_t bytes_f16 = 0;  // What as many pages would take in F16.
  kv::PoolCounters counters;
  // Nats a token that lowering is expected to cost, over the tokens of the requests that run or ran last. Unknown
  // before any, and of models that were not tested for it.
  std::optional<double> expected_divergence;
  // The same if all pages had the levels that the policy in effect chooses for them.
  std::optional<double> planned_divergence;
};

// The prefix index's tier on disk.
struct PrefixStoreSnapshot {
  kv::PrefixStoreCounters counters;
  uint64_t files = 0;            // Of this model.
  uint64_t restored_tokens = 0;  // That did not have to be computed.
};

struct EngineSnapshot {
  Instant at;
  std::array<int, kPriorities> waiting{};            // Requests without pages.
  std::array<int64_t, kPriorities> prompt_tokens{};  // To be computed, of all requests.
  int running = 0;
  int answering = 0;  // Of those, with a token in each step.
  int full = 0;       // Of all, held up by their readers.
  int64_t pages_max = 0;
  int64_t pages_free = 0;
  int64_t prefix_nodes = 0;
  std::optional<PrefixStoreSnapshot> prefix_store;  // Where there is one.
  std::optional<DraftModelSnapshot> draft_model;    // Likewise.
  KvSnapshot kv;
  CostLine cost;          // Of a step.
  float accept_rate = 0;  // Of the last drafted tokens, AcceptWindow::kTokens at most: of so many:
  int accept_window = 0;
  Duration running_time;  // Of a request from its first pages to its end, faded mean; 0: nothing measured.
  Instant last_step;      // When the last step ended well.
  EngineHealth health;    // As of the moment at which the snapshot is asked for, also while the engine's thread hangs.
  EngineCounters counters;
};

}  // namespace infer::engine
