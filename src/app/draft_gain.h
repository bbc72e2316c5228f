// What drafts (engine/speculation.h) gain on this machine: the same answers of an engine with and without, in turns.
//
// Whether an answer is drafted the engine decides by what it measures; this tells whether it does better than nothing.
// Thread safety: one thread. Ownership: borrows everything during the call.
#pragma once

#include <span>

#include "app/loading.h"
#include "app/services.h"
#include "base/call_context.h"
#include "base/ids.h"
#include "base/result.h"
#include "kv/level_policy.h"

namespace infer::app {

struct DraftGain {
  double ratio = 1;  // Of speeds, with to without: the median of the turns.
  int drafted = 0, accepted = 0;
};

struct DraftWork {
  std::span<const TokenId> text;  // Answers begin behind pieces of it; more than `prompt` tokens.
  int prompt = 256, generated = 96;
  int sequences = 1;  // At once.
  int draft_max = 15;
};

// kDeadline, kCancelled: the call's. Else the engine's.
Result<DraftGain> measure_draft_gain(const LoadedModel& loaded, const kv::LevelPolicy& levels, const DraftWork& work,
                                     const CallContext& call, Services& services);

}  // namespace infer::app
