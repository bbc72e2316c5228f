// engine_sim [--steps N] [SEED]: with a seed, one run of it, told in numbers; without, seeds from 1 on until N turns of
// the engine are simulated. The exit code is 1, and the seed named, when an invariant breaks.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>

#include "simulation.h"

namespace {

using infer::engine::FinishReason;
using infer::sim::Simulation;
using infer::sim::Tally;

constexpr uint64_t kTurnsOfOne = 5000;

void print(const Tally& tally) {
  const infer::engine::EngineCounters& engine = tally.engine;
  const auto ended = [&](FinishReason reason) {
    return static_cast<unsigned long long>(engine.ended[static_cast<size_t>(reason)]);
  };
  const auto drafted = [&](size_t source) { return static_cast<unsigned long long>(engine.drafts[source].drafted); };
  const auto accepted = [&](size_t source) { return static_cast<unsigned long long>(engine.drafts[source].accepted); };
  std::printf(
      "%llu turns, %llu steps (%llu abandoned, %llu failed), %.0f s of virtual time\n"
      "%llu requests: %llu refused, %llu stopped, %llu at length, %llu at a limit, %llu cancelled, %llu failed\n"
      "%llu tokens computed, %llu of %llu prompt tokens taken over, %llu generated, %llu times pages given up\n"
      "past a deadline at most %.3f ms (a layer takes %.3f ms); longest wait %.1f s; %llu hangs\n"
      "%llu tokens drafted from texts, %llu of them accepted; by a model %llu, %llu; it computed %llu\n"
      "%llu files of prefixes written, %llu tokens restored from them, %llu failures of the disk\n",
      static_cast<unsigned long long>(tally.turns), static_cast<unsigned long long>(engine.steps),
      static_cast<unsigned long long>(engine.steps_abandoned), static_cast<unsigned long long>(engine.steps_failed),
      tally.time.seconds(), static_cast<unsigned long long>(tally.requests),
      static_cast<unsigned long long>(tally.refused), ended(FinishReason::kStop), ended(FinishReason::kLength),
      ended(FinishReason::kDeadline), ended(FinishReason::kCancelled), ended(FinishReason::kFailed),
      static_cast<unsigned long long>(engine.computed_tokens), static_cast<unsigned long long>(engine.cached_tokens),
      static_cast<unsigned long long>(engine.prompt_tokens), static_cast<unsigned long long>(engine.generated_tokens),
      static_cast<unsigned long long>(engine.parks), tally.overshoot.ms(), tally.bound.ms(),
      tally.longest_wait.seconds(), static_cast<unsigned long long>(tally.hangs), drafted(0), accepted(0), drafted(1),
      accepted(1), static_cast<unsigned long long>(tally.guessed_tokens),
      static_cast<unsigned long long>(tally.files_written), static_cast<unsigned long long>(tally.restored_tokens),
      static_cast<unsigned long long>(tally.disk_failures));
}

// Adds the run's figures to `all`; false when an invariant broke.
bool simulate(uint64_t seed, bool aloud, Tally& all) {
  Simulation simulation(seed);
  if (aloud) std::printf("%s\n", simulation.description().c_str());
  const auto broken = simulation.run(kTurnsOfOne);
  all.add(simulation.tally());
  if (!broken) return true;
  std::printf("%s\nBROKEN: %s\nreplay: ./dev sim %llu\n", simulation.description().c_str(), broken->c_str(),
              static_cast<unsigned long long>(seed));
  return false;
}

}  // namespace

int main(int argc, char** argv) {
  unsigned long long steps = 1000000, seed = 0;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--steps") == 0 && i + 1 < argc) {
      steps = std::strtoull(argv[++i], nullptr, 10);
    } else {
      seed = std::strtoull(argv[i], nullptr, 10);
    }
  }
  Tally all;
  bool good = true;
  if (seed > 0) {
    good = simulate(seed, true, all);
  } else {
    for (uint64_t each = 1; good && all.engine.steps < steps; ++each) good = simulate(each, false, all);
  }
  print(all);
  return good ? 0 : 1;
}
