// The cores and caches that this process may use.
// Thread safety: plain data.
#pragma once

#include <cstdint>
#include <optional>

namespace infer::os {

struct Topology {
  int logical_cpus = 1;             // Hardware threads in this process's affinity mask.
  int physical_cores = 1;           // Distinct cores among them.
  std::optional<double> cpu_quota;  // What a container may use, in cores.
  // Bytes of one cache of each level as the first usable CPU sees it; 0: unknown.
  uint64_t l1_data_bytes = 0;
  uint64_t l2_bytes = 0;
  uint64_t l3_bytes = 0;

  // How many threads compute fastest: one per physical core, and not more than the quota pays for in full, because a
  // thread that is stopped for the rest of a period holds up all the others. At least 1.
  int compute_threads() const;
};

Topology read_topology();

}  // namespace infer::os
