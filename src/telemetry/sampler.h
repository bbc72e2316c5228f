// Turns what an engine and a recorder count into the figures of the last minute.
//
// Rates are differences of counters between two samples, so the engine is never asked to do anything for them; a rate
// needs two samples at different instants. Thread safety: one thread. Ownership: borrows the recorder.
#pragma once

#include <cstdint>
#include <deque>

#include "base/time.h"
#include "os/machine_state.h"
#include "os/memory_reader.h"
#include "telemetry/metrics.h"
#include "telemetry/recorder.h"

namespace infer::telemetry {

// What sampling needs of the machine; os/process_facts.h has it.
struct MachineFacts {
  MemoryFigures memory;
  Duration cpu_time;  // Of this process since its start.
  double cores = 1;   // That it may use.
  os::MachineState state{};
};

// That this process may use. Asks a lot of files; it does not change while a process runs.
double usable_cores();
MachineFacts read_machine_facts(double cores);

// The same for somebody who asks many times a second. Thread safety: one thread.
class MachineReader {
 public:
  explicit MachineReader(double cores) : cores_(cores) {}
  MachineFacts read(Instant now);

 private:
  const double cores_;
  os::MemoryReader memory_;
  os::MachineStateReader state_;
};

class Sampler {
 public:
  Sampler(const Recorder& recorder, Instant start) : recorder_(recorder), start_(start) {}

  // The figures of the window that ends now. With `keep` this is a sample that later windows begin at: call it so in
  // regular intervals, and without in between, as often as somebody asks.
  Metrics sample(const EngineFacts& engine, const MachineFacts& machine, Instant now, WallTime time, bool keep);

 private:
  struct Point {
    Instant at;
    uint64_t generated_tokens = 0, requests_ended = 0, prompt_tokens = 0, cached_tokens = 0;
    double nll = 0;  // Nats, of so many generated tokens.
    uint64_t nll_tokens = 0;
    Duration cpu_time;
  };
  static Point point_of(const EngineFacts& engine, const MachineFacts& machine, Instant now);
  Point begin_of_window(Instant now) const;

  const Recorder& recorder_;
  const Instant start_;
  std::deque<Point> points_;  // By time; all but the first lie within the window.
};

// Of values in any order.
LatencySummary summarize(std::vector<Duration> values);

}  // namespace infer::telemetry
