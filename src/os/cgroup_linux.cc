#include "os/cgroup_linux.h"

#if defined(__linux__)

#include <algorithm>
#include <charconv>
#include <string_view>
#include <vector>

#include "os/text_file.h"

namespace infer::os {

namespace {

constexpr size_t kFileLimit = 64 * 1024;

std::optional<std::string> read(const std::string& path) {
  Result<std::string> text = read_text_file(path, kFileLimit);
  if (!text) return std::nullopt;
  return std::move(*text);
}

std::optional<uint64_t> leading_number(std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end == text.data()) return std::nullopt;
  return value;
}

std::optional<uint64_t> read_number(const std::string& path) {
  const std::optional<std::string> text = read(path);
  return text ? leading_number(*text) : std::nullopt;
}

// The value of "name value" in a file of such lines.
std::optional<uint64_t> read_field(const std::string& path, std::string_view name) {
  const std::optional<std::string> text = read(path);
  if (!text) return std::nullopt;
  std::string_view rest = *text;
  while (!rest.empty()) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    if (line.size() > name.size() && line.starts_with(name) && line[name.size()] == ' ') {
      return leading_number(line.substr(name.size() + 1));
    }
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
  }
  return std::nullopt;
}

template <class T>
void lower_to(std::optional<T>& limit, T value) {
  if (!limit || value < *limit) limit = value;
}

void apply_quota(CgroupLimits& out, uint64_t quota, uint64_t period) {
  if (quota > 0 && period > 0) lower_to(out.cpus, static_cast<double>(quota) / static_cast<double>(period));
}

void apply_memory(CgroupLimits& out, const MemoryGroup& group) {
  const bool is_first = group.version == 1;
  const std::optional<uint64_t> limit =
      read_number(group.folder + (is_first ? "/memory.limit_in_bytes" : "/memory.max"));  // "max" is no number.
  // Version 1 writes "no limit" as the greatest multiple of a page below 2^63.
  if (!limit || *limit >= (uint64_t{1} << 62)) return;
  lower_to(out.memory_bytes, *limit);
  out.memory_groups.push_back(group);
  const std::optional<uint64_t> used =
      read_number(group.folder + (is_first ? "/memory.usage_in_bytes" : "/memory.current"));
  if (!used) return;
  const std::optional<uint64_t> droppable =
      read_field(group.folder + "/memory.stat", is_first ? "total_inactive_file" : "inactive_file");
  const uint64_t in_use = *used - std::min(*used, droppable.value_or(0));
  lower_to(out.memory_available, *limit - std::min(*limit, in_use));
}

void apply_version2(CgroupLimits& out, const std::string& folder) {
  if (const std::optional<std::string> text = read(folder + "/cpu.max")) {  // "150000 100000" or "max 100000".
    const size_t space = text->find(' ');
    const std::optional<uint64_t> quota = leading_number(*text);
    const std::optional<uint64_t> period =
        space == std::string::npos ? std::nullopt : leading_number(std::string_view(*text).substr(space + 1));
    if (quota && period) apply_quota(out, *quota, *period);
  }
  apply_memory(out, {folder, 2});
}

void apply_version1_cpu(CgroupLimits& out, const std::string& folder) {
  const std::optional<uint64_t> quota = read_number(folder + "/cpu.cfs_quota_us");  // -1 is no number.
  const std::optional<uint64_t> period = read_number(folder + "/cpu.cfs_period_us");
  if (quota && period) apply_quota(out, *quota, *period);
}

// "/a/b" -> {"/a/b", "/a", ""}. Inside a container the path may be that of the host, or lead out with "..": the
// mounted root is then the own group, and it is always in the list.
std::vector<std::string> group_and_ancestors(std::string path) {
  std::vector<std::string> out;
  if (path.find("..") == std::string::npos) {
    while (!path.empty() && path != "/") {
      out.push_back(path);
      path.resize(path.rfind('/') == std::string::npos ? 0 : path.rfind('/'));
    }
  }
  out.emplace_back();
  return out;
}

bool lists(std::string_view controllers, std::string_view wanted) {
  while (!controllers.empty()) {
    const std::string_view one = controllers.substr(0, controllers.find(','));
    if (one == wanted) return true;
    controllers.remove_prefix(std::min(controllers.size(), one.size() + 1));
  }
  return false;
}

// One line of /proc/self/cgroup, "id:controllers:path"; version 2 has no controllers.
void apply_line(CgroupLimits& out, const std::string& mounts, std::string_view line) {
  const size_t first = line.find(':');
  const size_t second = first == std::string_view::npos ? first : line.find(':', first + 1);
  if (second == std::string_view::npos) return;
  const std::string controllers(line.substr(first + 1, second - first - 1));
  for (const std::string& group : group_and_ancestors(std::string(line.substr(second + 1)))) {
    if (controllers.empty()) {
      apply_version2(out, mounts + group);
      apply_version2(out, mounts + "/unified" + group);
    } else if (lists(controllers, "cpu")) {
      apply_version1_cpu(out, mounts + "/" + controllers + group);
      if (controllers != "cpu") apply_version1_cpu(out, mounts + "/cpu" + group);
    } else if (lists(controllers, "memory")) {
      apply_memory(out, {mounts + "/memory" + group, 1});
    }
  }
}

}  // namespace

CgroupLimits read_memory_groups(std::span<const MemoryGroup> groups) {
  CgroupLimits out;
  for (const MemoryGroup& group : groups) apply_memory(out, group);
  return out;
}

CgroupLimits read_cgroup_limits(const std::string& root) {
  CgroupLimits out;
  const std::optional<std::string> text = read(root + "/proc/self/cgroup");
  if (!text) return out;
  std::string_view rest = *text;
  while (!rest.empty()) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    apply_line(out, root + "/sys/fs/cgroup", line);
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
  }
  return out;
}

}  // namespace infer::os

#endif
