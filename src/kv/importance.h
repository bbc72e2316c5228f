// How important a page is: a number in 0..1 from the attention that it gets, by the weights of a policy.
// Thread safety: pure functions.
#pragma once

#include "kv/level_policy.h"
#include "kv/page_attention.h"

namespace infer::kv {

// a * attention + b * frequency + c * relevance - d * age, within 0..1, where attention is mass / (mass + 1 / pages):
// 1/2 for a page that gets what an average page would; and age goes from 0 (just written) to 1 (the oldest page). A
// page of which nothing is known counts as an average one.
double importance(const ImportanceWeights& weights, const PageStats& stats, int page_index, int pages);

}  // namespace infer::kv
