#if defined(__linux__)

#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>

#include "base/format.h"
#include "os/memory_reader.h"
#include "os/process_facts.h"
#include "os/system_reason.h"

namespace infer::os {

namespace {

int64_t nanoseconds(const timeval& time) {
  return static_cast<int64_t>(time.tv_sec) * 1'000'000'000 + static_cast<int64_t>(time.tv_usec) * 1'000;
}

Duration cpu_time_of(int whose) {
  rusage usage{};
  if (::getrusage(whose, &usage) != 0) return Duration();
  return Duration::from_ns(nanoseconds(usage.ru_utime) + nanoseconds(usage.ru_stime));
}

}  // namespace

std::optional<uint64_t> resident_bytes() { return MemoryReader().read_process().resident_bytes; }

std::optional<uint64_t> peak_resident_bytes() {
  // VmHWM and not ru_maxrss: the latter survives exec, so a small program started by a large one inherits its peak.
  if (const std::optional<uint64_t> peak = MemoryReader().read_process().peak_bytes) return peak;
  rusage usage{};
  if (::getrusage(RUSAGE_SELF, &usage) != 0) return std::nullopt;
  return static_cast<uint64_t>(usage.ru_maxrss) * 1024;
}

std::optional<uint64_t> total_memory_bytes() { return MemoryReader().read(Instant()).total_bytes; }
std::optional<uint64_t> available_memory_bytes() { return MemoryReader().read(Instant()).available_bytes; }

Duration cpu_time_used() { return cpu_time_of(RUSAGE_SELF); }
Duration thread_cpu_time_used() { return cpu_time_of(RUSAGE_THREAD); }

Result<std::string> executable_path() {
  std::string path(256, '\0');
  while (true) {
    const ssize_t size = ::readlink("/proc/self/exe", path.data(), path.size());
    if (size < 0) {
      return Error{ErrorCode::kIo, format("cannot find the program's own path: {}", last_system_reason())};
    }
    if (static_cast<size_t>(size) < path.size()) {
      path.resize(static_cast<size_t>(size));
      return path;
    }
    path.resize(path.size() * 2);
  }
}

}  // namespace infer::os

#endif
