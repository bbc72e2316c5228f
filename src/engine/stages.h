// Staged generation: when an answer takes too long, it goes on with smaller settings instead of failing.
//
// The stages follow each other in one request: each goes on from the KV cache and the text of the one before, so that
// nothing is computed twice. A stage that ends the answer names itself in the result; one whose time is up, or that
// failed, hands over to the next. Together they never take longer than the request's deadline: where their limits add
// up to more than is left, all are shortened by the same factor, so that a tight deadline still leaves room for the
// last. Plain values and pure functions.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/call_context.h"
#include "base/time.h"
#include "sampling/sampler.h"

namespace infer::engine {

struct Stage {
  std::string name;
  Duration limit;
  int tokens_max = -1;  // Most tokens to generate in this stage; -1: what is left of the request's own limit.
  std::optional<int> top_k{};
  std::optional<float> top_p{};
  bool greedy = false;
};

// normal 600 s; light 180 s, at most 50 tokens, top_k 30, top_p 0.8; minimal 60 s, 20 tokens, greedy; emergency 60 s,
// 8 tokens, greedy.
std::vector<Stage> standard_stages();

// When each stage ends, for a request that starts now.
std::vector<Instant> stage_ends(std::span<const Stage> stages, Instant now, Deadline deadline);

// The request's sampling with what the stage asks.
sampling::SamplingParams stage_sampling(const Stage& stage, sampling::SamplingParams params);

}  // namespace infer::engine
