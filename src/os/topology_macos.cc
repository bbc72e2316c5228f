#if defined(__APPLE__)

#include <sys/sysctl.h>

#include <algorithm>

#include "os/topology.h"

namespace infer::os {

namespace {

// Values are 4 or 8 bytes wide, depending on name and release; 0 when there is no such name.
int64_t system_value(const char* name) {
  int64_t value = 0;  // Little-endian on all Macs of today: a 4-byte answer fills the low half.
  size_t size = sizeof(value);
  return ::sysctlbyname(name, &value, &size, nullptr, 0) == 0 ? value : 0;
}

}  // namespace

Topology read_topology() {
  Topology out;
  out.logical_cpus = std::max(1, static_cast<int>(system_value("hw.logicalcpu")));
  // Where there are two kinds of cores, the fast ones compute: a slow one would hold up each job.
  const int64_t fast = system_value("hw.perflevel0.physicalcpu");
  out.physical_cores = static_cast<int>(fast > 0 ? fast : std::max<int64_t>(1, system_value("hw.physicalcpu")));
  out.l1_data_bytes = static_cast<uint64_t>(system_value("hw.l1dcachesize"));
  out.l2_bytes = static_cast<uint64_t>(system_value("hw.l2cachesize"));
  out.l3_bytes = static_cast<uint64_t>(system_value("hw.l3cachesize"));
  return out;
}

}  // namespace infer::os

#endif
