// All limits of the engine, in one place. Plain values.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/result.h"
#include "base/time.h"
#include "engine/likelihood_share.h"
#include "engine/speculation.h"
#include "engine/watchdog.h"

namespace infer::engine {

struct EngineLimits {
  // Requests that have pages at the same time. Never more than a step has room for.
  int running_max = 8;
  // Requests that wait for that, and their prompt tokens.
  int waiting_max = 256;
  int64_t waiting_tokens_max = int64_t{1} << 20;
  // Tokens of one step, and how long it should take: running answers wait that long for their next token while a prompt
  // is computed beside them, and a cancellation for a part of it. A step has chunk_min prompt tokens at least.
  int tokens_per_step = 512;
  Duration step_target = Duration::from_ms(250);
  int chunk_min = 16;
  // A waiting request rises by a class of priority each time.
  Duration aging = Duration::from_seconds(30);
  // Tokens of an answer that its reader has not taken yet.
  size_t stream_tokens = 256;
  // After as many failed steps in a row a request (or its stage) is given up.
  int failures_max = 3;
  // Drafts of what answers may say next. Steps need room for their logits: see model::ModelOptions::logits_per_step.
  SpeculationLimits speculation{};
  // Of the time of steps: for measuring how likely the model found what it said (likelihood_share.h). 1: all of it.
  double likelihood_share = LikelihoodShare::kMost;
  // What is made of an engine that does not get on. One part of a step, a layer, has to be quicker.
  WatchdogLimits watchdog{};

  // kInvalidArgument names the limit that makes no sense.
  Status validate() const;
};

}  // namespace infer::engine
