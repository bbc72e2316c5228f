// How hard pressed the machine is: what Linux tells of stalls for memory, of the processor's temperature and of its
// frequency. What a system does not tell is nullopt.
//
// Where it tells is found out again each kFindAgain; in between only files that say something are read, and those each
// kReadAgain: for an answer the kernel asks a chip or another core, and stalls are of the last 10 s.
// Thread safety: one thread; read_machine_state() any. A call reads some small files (microseconds; tens of them where
// they have to be found).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/time.h"

namespace infer::os {

struct MachineState {
  // Share of the last 10 s in which some task waited for memory, 0..1; of the own control group where it tells, else of
  // the machine.
  std::optional<double> memory_stalls;
  std::optional<double> cpu_celsius;      // The hottest sensor of the processor.
  std::optional<double> frequency_share;  // Of the first core: now / highest, 0..1.
};

class MachineStateReader {
 public:
  static constexpr Duration kFindAgain = Duration::from_seconds(10), kReadAgain = Duration::from_ms(500);

  // `root` is put before /proc and /sys: "" on a real machine, a folder in tests.
  explicit MachineStateReader(std::string root = "") : root_(std::move(root)) {}

  MachineState read(Instant now);

 private:
  void find();
  MachineState read_files() const;

  const std::string root_;
  std::optional<Instant> found_at_, read_at_;
  MachineState state_;  // As of read_at_.
  // Files that say something; "": there is none.
  std::string stalls_, frequency_;
  std::vector<std::string> sensors_;
  double highest_khz_ = 0;
};

// Once.
MachineState read_machine_state(const std::string& root = "");

}  // namespace infer::os
