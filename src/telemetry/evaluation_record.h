// What an evaluation found, as it is kept in the history: for whom (model, policy), on what, and the figures.
// Plain values.
#pragma once

#include <cstdint>
#include <string>

#include "base/time.h"

namespace infer::telemetry {

struct EvaluationRecord {
  WallTime time;        // Of its end.
  std::string kind;     // "full" or "light".
  std::string trigger;  // "schedule" or "request".
  std::string model;
  std::string policy;  // "dynamic, window 64, levels 0.7/0.5/0.3"
  std::string dataset;
  int64_t positions = 0;  // Scored.
  double seconds = 0;     // Of work.
  double ppl_f16 = 0;     // With the KV cache at 16 bits,
  double ppl = 0;         // and as the policy has it.
  double delta_ppl = 0;   // The latter less the former.
  double delta_stderr = 0;
  double kld_mean = 0;  // Nats a position.
  double kld_p999 = 0;
  double same_top = 0;  // Share of positions.
};

}  // namespace infer::telemetry
