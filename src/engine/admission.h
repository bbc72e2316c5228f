// Whether a new request can be taken in: the queue is bounded, and what cannot meet its limits is refused at once, with
// the numbers, instead of being computed in vain. So is what others keep waiting until its answer would be cut off; one
// that could begin at once gets as much of its answer as there is time for.
// Plain values and pure functions.
#pragma once

#include <cstdint>
#include <optional>

#include "base/result.h"
#include "base/time.h"
#include "engine/engine_limits.h"
#include "engine/engine_snapshot.h"
#include "engine/request.h"

namespace infer::engine {

// What a new request finds before it.
struct Backlog {
  int waiting = 0;             // Requests without pages; all of them count against the bound,
  int waiting_before = 0;      // those of the same or a higher priority go first.
  int64_t waiting_tokens = 0;  // Prompt tokens to be computed, likewise.
  int64_t tokens_before = 0;
  int running = 0;
  int answering = 0;
  CostLine cost{};
  Duration running_time{};
};
// on_the_way: requests handed in that the snapshot does not know yet, and their prompt tokens.
Backlog backlog_of(const EngineSnapshot& snapshot, Priority priority, int on_the_way, int64_t on_the_way_tokens);

// What a request asks for.
struct Demand {
  int64_t prompt_tokens = 0;      // To be computed.
  int64_t tokens_max = 0;         // Of its answer.
  bool takes_what_comes = false;  // It has stages that make do with the time that is left.
};
Demand demand_of(const Request& request, int64_t cached_tokens);

// How long until the first token of a request with `prompt_tokens` to compute; nullopt while nothing was measured.
std::optional<Duration> predict_first_token(const Backlog& backlog, const EngineLimits& limits, int64_t prompt_tokens);
// How long until the end of one that has to wait for its place, and as long as that is likely to be at most: it may
// last as long as the others do, or as its own size lets it. nullopt where it need not wait or nothing was measured.
std::optional<Duration> predict_end(const Backlog& backlog, const EngineLimits& limits, const Demand& demand);

struct Admission {
  Status status;                      // kBusy: try again later; kDeadline: too late even if it were alone.
  std::optional<Duration> predicted;  // Until the first token.
};
// `waiting` requests wait, and no more may.
Error queue_is_full(int waiting, int waiting_max);
Admission decide_admission(const Backlog& backlog, const EngineLimits& limits, const TimeLimits& times,
                           const Demand& demand, Instant now);

}  // namespace infer::engine
