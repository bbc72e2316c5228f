// What this process uses and what the machine has left for it. Nothing is estimated: what the system does not tell is
// nullopt.
// Thread safety: any thread. Each call asks the system (microseconds), so do not ask in an inner loop.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/result.h"
#include "base/time.h"

namespace infer::os {

// Bytes of this process in physical memory, now and at most so far (mapped files count while they are resident).
std::optional<uint64_t> resident_bytes();
std::optional<uint64_t> peak_resident_bytes();

// Memory of the machine, or of the container where that is less.
std::optional<uint64_t> total_memory_bytes();
// What can still be had without swapping or being killed; page cache that would be given up counts as available.
std::optional<uint64_t> available_memory_bytes();

// User and system time of all threads since the start.
Duration cpu_time_used();
// Of the thread that asks.
Duration thread_cpu_time_used();

// The absolute path of the running program.
Result<std::string> executable_path();

// Free bytes, for this user, of the disk that holds `path`; the path itself need not exist yet.
Result<uint64_t> free_disk_bytes(const std::string& path);

}  // namespace infer::os
