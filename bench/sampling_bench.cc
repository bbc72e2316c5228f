// One token of 128k logits, chosen in the ways that are used.
#include <memory>
#include <vector>

#include "base/check.h"
#include "base/rng.h"
#include "kernel_benchmarks.h"
#include "sampling/sampler.h"

namespace infer::bench {
namespace {

constexpr int kHistory = 64;

// Roughly normal, as a model's logits are, with a few that stand out.
std::vector<float> logits_of(int vocabulary) {
  Rng rng(7);
  std::vector<float> logits(static_cast<size_t>(vocabulary));
  for (float& x : logits) {
    double sum = -6;
    for (int i = 0; i < 12; ++i) sum += rng.uniform();
    x = static_cast<float>(3 * sum);
  }
  for (int i = 0; i < 20; ++i) logits[rng.below(static_cast<uint32_t>(vocabulary))] += 8.0f;
  return logits;
}

void sample(benchmark::State& state, const sampling::SamplingParams& params, int vocabulary) {
  const std::vector<float> logits = logits_of(vocabulary);
  auto made = sampling::Sampler::make(params, vocabulary, 1024);
  INFER_CHECK(made.has_value());
  const std::unique_ptr<sampling::Sampler> sampler = std::move(made.value());
  for (int i = 0; i < kHistory; ++i) sampler->accept(i * 7 % vocabulary);
  for (auto _ : state) benchmark::DoNotOptimize(sampler->sample(logits));
  count_rate(state, "bytes", static_cast<double>(vocabulary) * sizeof(float));
}

}  // namespace

void register_sampling(Size size) {
  const int vocabulary = size == Size::kSmoke ? 300 : 128256;
  const auto add = [&](const char* name, const sampling::SamplingParams& params) {
    add_benchmark("Sample/" + std::string(name), size,
                  [=](benchmark::State& state) { sample(state, params, vocabulary); });
  };
  sampling::SamplingParams params;
  add("default", params);
  params.repeat_penalty = 1.1f;
  add("default_penalties", params);
  params = {};
  params.temperature = 0;
  add("greedy", params);
  params.repeat_penalty = 1.1f;
  add("greedy_penalties", params);
  params = {};
  params.top_k = 1000;
  add("top_k_1000", params);
  params = {};
  params.top_k = 0;
  add("all_top_p_min_p", params);
  params.top_p = 1;
  params.min_p = 0;
  add("all", params);
}

}  // namespace infer::bench
