#if defined(__linux__)

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <string_view>

#include "base/format.h"
#include "os/cgroup_linux.h"
#include "os/process_facts.h"
#include "os/system_reason.h"
#include "os/text_file.h"

namespace infer::os {

namespace {

// "name:   123 kB" of /proc/meminfo and /proc/self/status, in bytes.
std::optional<uint64_t> kilobyte_field(const char* file, std::string_view name) {
  const Result<std::string> text = read_text_file(file, 64 * 1024);
  if (!text) return std::nullopt;
  std::string_view rest = *text;
  while (!rest.empty()) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    if (line.size() > name.size() && line.starts_with(name) && line[name.size()] == ':') {
      const size_t digit = line.find_first_of("0123456789");
      if (digit == std::string_view::npos) return std::nullopt;
      uint64_t kilobytes = 0;
      std::from_chars(line.data() + digit, line.data() + line.size(), kilobytes);
      return kilobytes * 1024;
    }
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
  }
  return std::nullopt;
}

std::optional<uint64_t> lesser(std::optional<uint64_t> a, std::optional<uint64_t> b) {
  if (a && b) return std::min(*a, *b);
  return a ? a : b;
}

int64_t nanoseconds(const timeval& time) {
  return static_cast<int64_t>(time.tv_sec) * 1'000'000'000 + static_cast<int64_t>(time.tv_usec) * 1'000;
}

Duration cpu_time_of(int whose) {
  rusage usage{};
  if (::getrusage(whose, &usage) != 0) return Duration();
  return Duration::from_ns(nanoseconds(usage.ru_utime) + nanoseconds(usage.ru_stime));
}

}  // namespace

std::optional<uint64_t> resident_bytes() { return kilobyte_field("/proc/self/status", "VmRSS"); }

std::optional<uint64_t> peak_resident_bytes() {
  // VmHWM and not ru_maxrss: the latter survives exec, so a small program started by a large one inherits its peak.
  if (const std::optional<uint64_t> peak = kilobyte_field("/proc/self/status", "VmHWM")) return peak;
  rusage usage{};
  if (::getrusage(RUSAGE_SELF, &usage) != 0) return std::nullopt;
  return static_cast<uint64_t>(usage.ru_maxrss) * 1024;
}

std::optional<uint64_t> total_memory_bytes() {
  return lesser(kilobyte_field("/proc/meminfo", "MemTotal"), read_cgroup_limits("").memory_bytes);
}

std::optional<uint64_t> available_memory_bytes() {
  return lesser(kilobyte_field("/proc/meminfo", "MemAvailable"), read_cgroup_limits("").memory_available);
}

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
