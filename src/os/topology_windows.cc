#if defined(_WIN32)

#include "os/windows_api.h"

#include <algorithm>
#include <bit>
#include <vector>

#include "os/topology.h"

namespace infer::os {

namespace {

// A process runs in one group of at most 64 processors; the mask names those that it may use.
DWORD_PTR affinity_mask() {
  DWORD_PTR process = 0;
  DWORD_PTR system = 0;
  if (!::GetProcessAffinityMask(::GetCurrentProcess(), &process, &system)) return 0;
  return process;
}

std::vector<SYSTEM_LOGICAL_PROCESSOR_INFORMATION> processor_facts() {
  DWORD bytes = 0;
  ::GetLogicalProcessorInformation(nullptr, &bytes);
  std::vector<SYSTEM_LOGICAL_PROCESSOR_INFORMATION> facts(bytes / sizeof(SYSTEM_LOGICAL_PROCESSOR_INFORMATION));
  if (facts.empty() || !::GetLogicalProcessorInformation(facts.data(), &bytes)) facts.clear();
  return facts;
}

}  // namespace

Topology read_topology() {
  Topology out;
  const DWORD_PTR usable = affinity_mask();
  out.logical_cpus = std::max(1, std::popcount(static_cast<uint64_t>(usable)));
  int cores = 0;
  for (const SYSTEM_LOGICAL_PROCESSOR_INFORMATION& fact : processor_facts()) {
    if ((fact.ProcessorMask & usable) == 0) continue;
    if (fact.Relationship == RelationProcessorCore) ++cores;
    if (fact.Relationship != RelationCache || fact.Cache.Type == CacheInstruction) continue;
    if (fact.Cache.Level == 1) out.l1_data_bytes = fact.Cache.Size;
    if (fact.Cache.Level == 2) out.l2_bytes = fact.Cache.Size;
    if (fact.Cache.Level == 3) out.l3_bytes = fact.Cache.Size;
  }
  out.physical_cores = cores > 0 ? cores : out.logical_cpus;
  return out;
}

}  // namespace infer::os

#endif
