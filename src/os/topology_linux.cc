#include "os/topology_linux.h"

#if defined(__linux__)

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <numeric>
#include <set>
#include <string_view>

#include "base/format.h"
#include "os/cgroup_linux.h"
#include "os/text_file.h"

namespace infer::os {

namespace {

std::string first_line(const std::string& path) {
  const Result<std::string> text = read_text_file(path, 64 * 1024);
  return text ? text->substr(0, text->find('\n')) : "";
}

// The affinity mask as a list. Its size in the kernel is unknown, so it is asked with growing masks.
std::vector<int> usable_cpus() {
  std::vector<int> out;
  for (size_t cpus = 1024; cpus <= (size_t{1} << 20) && out.empty(); cpus *= 4) {
    cpu_set_t* set = CPU_ALLOC(cpus);
    if (!set) break;
    const size_t bytes = CPU_ALLOC_SIZE(cpus);
    CPU_ZERO_S(bytes, set);
    const bool known = ::sched_getaffinity(0, bytes, set) == 0;
    const bool too_small = !known && errno == EINVAL;
    for (size_t cpu = 0; known && cpu < cpus; ++cpu) {
      if (CPU_ISSET_S(cpu, bytes, set)) out.push_back(static_cast<int>(cpu));
    }
    CPU_FREE(set);
    if (!too_small) break;
  }
  if (out.empty()) {
    out.resize(static_cast<size_t>(std::max(1L, ::sysconf(_SC_NPROCESSORS_ONLN))));
    std::iota(out.begin(), out.end(), 0);
  }
  return out;
}

int count_cores(std::span<const int> cpus, const std::string& root) {
  std::set<std::string> cores;
  for (const int cpu : cpus) {
    const std::string folder = format("{}/sys/devices/system/cpu/cpu{}/topology/", root, cpu);
    const std::string core = first_line(folder + "core_id");
    // A machine that does not tell (some containers): each CPU counts as a core.
    const std::string own =
        core.empty() ? format("cpu{}", cpu) : first_line(folder + "physical_package_id") + "." + core;
    cores.insert(own);
  }
  return static_cast<int>(cores.size());
}

void read_caches(Topology& out, int cpu, const std::string& root) {
  constexpr int kCachesMax = 16;
  for (int index = 0; index < kCachesMax; ++index) {
    const std::string folder = format("{}/sys/devices/system/cpu/cpu{}/cache/index{}/", root, cpu, index);
    const std::string level = first_line(folder + "level");
    if (level.empty()) return;
    if (first_line(folder + "type") == "Instruction") continue;
    const uint64_t size = parse_cache_size(first_line(folder + "size"));
    if (level == "1") out.l1_data_bytes = size;
    if (level == "2") out.l2_bytes = size;
    if (level == "3") out.l3_bytes = size;
  }
}

}  // namespace

uint64_t parse_cache_size(const std::string& text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || value > (uint64_t{1} << 40)) return 0;
  const std::string_view unit(end, static_cast<size_t>(text.data() + text.size() - end));
  if (unit.empty()) return value;
  if (unit == "K") return value << 10;
  if (unit == "M") return value << 20;
  if (unit == "G") return value << 30;
  return 0;
}

Topology read_topology_of(std::span<const int> cpus, const std::string& root) {
  Topology out;
  out.logical_cpus = static_cast<int>(cpus.size());
  out.physical_cores = count_cores(cpus, root);
  out.cpu_quota = read_cgroup_limits(root).cpus;
  read_caches(out, cpus.front(), root);
  return out;
}

Topology read_topology() { return read_topology_of(usable_cpus(), ""); }

}  // namespace infer::os

#endif
