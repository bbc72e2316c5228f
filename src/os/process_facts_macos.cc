#if defined(__APPLE__)

#include <mach-o/dyld.h>
#include <mach/mach.h>
#include <sys/resource.h>
#include <sys/sysctl.h>

#include <climits>
#include <cstdlib>

#include "base/format.h"
#include "os/process_facts.h"
#include "os/system_reason.h"

namespace infer::os {

namespace {

int64_t nanoseconds(const timeval& time) {
  return static_cast<int64_t>(time.tv_sec) * 1'000'000'000 + static_cast<int64_t>(time.tv_usec) * 1'000;
}

}  // namespace

std::optional<uint64_t> resident_bytes() {
  mach_task_basic_info info{};
  mach_msg_type_number_t count = MACH_TASK_BASIC_INFO_COUNT;
  const kern_return_t result =
      ::task_info(mach_task_self(), MACH_TASK_BASIC_INFO, reinterpret_cast<task_info_t>(&info), &count);
  if (result != KERN_SUCCESS) return std::nullopt;
  return info.resident_size;
}

std::optional<uint64_t> peak_resident_bytes() {
  rusage usage{};
  if (::getrusage(RUSAGE_SELF, &usage) != 0) return std::nullopt;
  return static_cast<uint64_t>(usage.ru_maxrss);  // Bytes here, not KiB.
}

std::optional<uint64_t> total_memory_bytes() {
  uint64_t bytes = 0;
  size_t size = sizeof(bytes);
  if (::sysctlbyname("hw.memsize", &bytes, &size, nullptr, 0) != 0) return std::nullopt;
  return bytes;
}

std::optional<uint64_t> available_memory_bytes() {
  vm_statistics64 statistics{};
  mach_msg_type_number_t count = HOST_VM_INFO64_COUNT;
  const kern_return_t result =
      ::host_statistics64(mach_host_self(), HOST_VM_INFO64, reinterpret_cast<host_info64_t>(&statistics), &count);
  if (result != KERN_SUCCESS) return std::nullopt;
  // Inactive pages are given up before anything is swapped.
  return (static_cast<uint64_t>(statistics.free_count) + statistics.inactive_count) * vm_kernel_page_size;
}

Duration cpu_time_used() {
  rusage usage{};
  if (::getrusage(RUSAGE_SELF, &usage) != 0) return Duration();
  return Duration::from_ns(nanoseconds(usage.ru_utime) + nanoseconds(usage.ru_stime));
}

Duration thread_cpu_time_used() {
  thread_basic_info_data_t info{};
  mach_msg_type_number_t count = THREAD_BASIC_INFO_COUNT;
  const mach_port_t self = ::mach_thread_self();
  const kern_return_t status = ::thread_info(self, THREAD_BASIC_INFO, reinterpret_cast<thread_info_t>(&info), &count);
  ::mach_port_deallocate(::mach_task_self(), self);
  if (status != KERN_SUCCESS) return Duration();
  const auto microseconds = [](const time_value_t& time) {
    return int64_t{time.seconds} * 1'000'000 + time.microseconds;
  };
  return Duration::from_ns(1000 * (microseconds(info.user_time) + microseconds(info.system_time)));
}

Result<std::string> executable_path() {
  uint32_t size = 0;
  (void)::_NSGetExecutablePath(nullptr, &size);  // Asks for the size.
  std::string path(size, '\0');
  char absolute[PATH_MAX];
  if (::_NSGetExecutablePath(path.data(), &size) != 0 || !::realpath(path.c_str(), absolute)) {
    return Error{ErrorCode::kIo, format("cannot find the program's own path: {}", last_system_reason())};
  }
  return std::string(absolute);
}

}  // namespace infer::os

#endif
