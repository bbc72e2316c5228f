#if defined(_WIN32)

#include "os/windows_api.h"

#include <psapi.h>  // After windows.h.

#include "base/format.h"
#include "os/process_facts.h"
#include "os/system_reason.h"
#include "os/windows_text.h"

namespace infer::os {

namespace {

std::optional<PROCESS_MEMORY_COUNTERS> memory_counters() {
  PROCESS_MEMORY_COUNTERS counters{};
  if (!::GetProcessMemoryInfo(::GetCurrentProcess(), &counters, sizeof(counters))) return std::nullopt;
  return counters;
}

std::optional<MEMORYSTATUSEX> memory_status() {
  MEMORYSTATUSEX status{};
  status.dwLength = sizeof(status);
  if (!::GlobalMemoryStatusEx(&status)) return std::nullopt;
  return status;
}

// FILETIME counts 100 ns.
int64_t nanoseconds(const FILETIME& time) {
  return static_cast<int64_t>((static_cast<uint64_t>(time.dwHighDateTime) << 32) | time.dwLowDateTime) * 100;
}

}  // namespace

std::optional<uint64_t> resident_bytes() {
  const auto counters = memory_counters();
  return counters ? std::optional<uint64_t>(counters->WorkingSetSize) : std::nullopt;
}

std::optional<uint64_t> peak_resident_bytes() {
  const auto counters = memory_counters();
  return counters ? std::optional<uint64_t>(counters->PeakWorkingSetSize) : std::nullopt;
}

std::optional<uint64_t> total_memory_bytes() {
  const auto status = memory_status();
  return status ? std::optional<uint64_t>(status->ullTotalPhys) : std::nullopt;
}

std::optional<uint64_t> available_memory_bytes() {
  const auto status = memory_status();
  return status ? std::optional<uint64_t>(status->ullAvailPhys) : std::nullopt;
}

Duration cpu_time_used() {
  FILETIME created{}, exited{}, kernel{}, user{};
  if (!::GetProcessTimes(::GetCurrentProcess(), &created, &exited, &kernel, &user)) return Duration();
  return Duration::from_ns(nanoseconds(kernel) + nanoseconds(user));
}

Duration thread_cpu_time_used() {
  FILETIME created{}, exited{}, kernel{}, user{};
  if (!::GetThreadTimes(::GetCurrentThread(), &created, &exited, &kernel, &user)) return Duration();
  return Duration::from_ns(nanoseconds(kernel) + nanoseconds(user));
}

Result<std::string> executable_path() {
  constexpr size_t kLongestPath = 32'768;
  std::wstring path(kLongestPath, L'\0');
  const DWORD size = ::GetModuleFileNameW(nullptr, path.data(), static_cast<DWORD>(path.size()));
  if (size == 0 || size >= path.size()) {
    return Error{ErrorCode::kIo, format("cannot find the program's own path: {}", last_system_reason())};
  }
  path.resize(size);
  return to_utf8(path);
}

}  // namespace infer::os

#endif
