// Limits that a container or service manager (Linux control groups, versions 1 and 2) puts on this process.
// The strictest of the own group and all above it counts. Internal to os/.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace infer::os {

// A group that limits memory.
struct MemoryGroup {
  std::string folder;  // Of its files,
  int version = 2;     // which are named otherwise in version 1.
};

struct CgroupLimits {
  std::optional<double> cpus;                // 1.5: a core and a half.
  std::optional<uint64_t> memory_bytes;      // The limit.
  std::optional<uint64_t> memory_available;  // Limit less use; file pages that can be dropped are not in use.
  std::vector<MemoryGroup> memory_groups;    // Those that have such a limit.
};

// `root` is put before /proc and /sys: "" on a real machine, a folder in tests. Files that are missing or unreadable
// set no limit.
CgroupLimits read_cgroup_limits(const std::string& root);
// The same for memory alone and for these groups alone: a few files instead of dozens.
CgroupLimits read_memory_groups(std::span<const MemoryGroup> groups);

}  // namespace infer::os
