#include "os/topology.h"

#include <algorithm>

namespace infer::os {

int Topology::compute_threads() const {
  int threads = physical_cores;
  if (cpu_quota && *cpu_quota < threads) threads = static_cast<int>(*cpu_quota);
  return std::max(threads, 1);
}

}  // namespace infer::os
