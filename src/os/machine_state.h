// How hard pressed the machine is: what Linux tells of stalls for memory, of the processor's temperature and of its
// frequency. What a system does not tell is nullopt.
// Thread safety: any thread. Each call reads some small files (tens of microseconds).
#pragma once

#include <optional>
#include <string>

namespace infer::os {

struct MachineState {
  // Share of the last 10 s in which some task waited for memory, 0..1; of the own control group where it tells, else of
  // the machine.
  std::optional<double> memory_stalls;
  std::optional<double> cpu_celsius;      // The hottest sensor of the processor.
  std::optional<double> frequency_share;  // Of the first core: now / highest, 0..1.
};

// `root` is put before /proc and /sys: "" on a real machine, a folder in tests.
MachineState read_machine_state(const std::string& root = "");

}  // namespace infer::os
