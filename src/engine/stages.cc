#include "engine/stages.h"

#include <algorithm>

namespace infer::engine {

std::vector<Stage> standard_stages() {
  return {{.name = "normal", .limit = Duration::from_seconds(600)},
          {.name = "light", .limit = Duration::from_seconds(180), .tokens_max = 50, .top_k = 30, .top_p = 0.8f},
          {.name = "minimal", .limit = Duration::from_seconds(60), .tokens_max = 20, .greedy = true},
          {.name = "emergency", .limit = Duration::from_seconds(60), .tokens_max = 8, .greedy = true}};
}

std::vector<Instant> stage_ends(std::span<const Stage> stages, Instant now, Deadline deadline) {
  Duration sum;
  for (const Stage& stage : stages) sum = sum + stage.limit;
  double share = 1;
  if (deadline.when() < now + sum) {
    share = std::max(0.0, static_cast<double>((deadline.when() - now).ns()) / static_cast<double>(sum.ns()));
  }
  std::vector<Instant> ends;
  Duration passed;
  for (const Stage& stage : stages) {
    passed = passed + stage.limit;
    const auto scaled = Duration::from_ns(static_cast<int64_t>(static_cast<double>(passed.ns()) * share));
    ends.push_back(std::min(now + scaled, deadline.when()));
  }
  return ends;
}

sampling::SamplingParams stage_sampling(const Stage& stage, sampling::SamplingParams params) {
  if (stage.top_k) params.top_k = params.top_k == 0 ? *stage.top_k : std::min(params.top_k, *stage.top_k);
  if (stage.top_p) params.top_p = std::min(params.top_p, *stage.top_p);
  if (stage.greedy) params.temperature = 0;
  return params;
}

}  // namespace infer::engine
