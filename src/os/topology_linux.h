// The parts of topology_linux.cc that tests feed with a made-up machine. Internal to os/.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "os/topology.h"

namespace infer::os {

// Topology of the given CPUs (numbers, ascending, not empty) from the files below `root` + /sys and /proc.
Topology read_topology_of(std::span<const int> cpus, const std::string& root);

// "48K", "2M" as written by the kernel; 0 when it is neither.
uint64_t parse_cache_size(const std::string& text);

}  // namespace infer::os
