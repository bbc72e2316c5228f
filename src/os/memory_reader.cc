#include "os/memory_reader.h"

#include <algorithm>
#include <charconv>
#include <string_view>
#include <utility>

#include "os/process_facts.h"
#include "os/text_file.h"

namespace infer::os {

#if defined(__linux__)

namespace {

std::string read_or_nothing(const std::string& path) {
  Result<std::string> text = read_text_file(path, 64 * 1024);
  return text ? *std::move(text) : std::string();
}

// "name:   123 kB" of /proc/meminfo and /proc/self/status, in bytes.
std::optional<uint64_t> kilobyte_field(std::string_view text, std::string_view name) {
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    if (line.size() > name.size() && line.starts_with(name) && line[name.size()] == ':') {
      const size_t digit = line.find_first_of("0123456789");
      if (digit == std::string_view::npos) return std::nullopt;
      uint64_t kilobytes = 0;
      std::from_chars(line.data() + digit, line.data() + line.size(), kilobytes);
      return kilobytes * 1024;
    }
    text.remove_prefix(std::min(text.size(), line.size() + 1));
  }
  return std::nullopt;
}

std::optional<uint64_t> lesser(std::optional<uint64_t> a, std::optional<uint64_t> b) {
  if (a && b) return std::min(*a, *b);
  return a ? a : b;
}

}  // namespace

MemoryFacts MemoryReader::read_process() const {
  const std::string status = read_or_nothing(root_ + "/proc/self/status");
  MemoryFacts facts;
  facts.resident_bytes = kilobyte_field(status, "VmRSS");
  facts.peak_bytes = kilobyte_field(status, "VmHWM");
  return facts;
}

MemoryFacts MemoryReader::read(Instant now) {
  CgroupLimits limits;
  if (!found_at_ || now - *found_at_ >= kFindAgain) {
    limits = read_cgroup_limits(root_);
    groups_ = limits.memory_groups;
    found_at_ = now;
  } else {
    limits = read_memory_groups(groups_);
  }
  MemoryFacts facts = read_process();
  const std::string machine = read_or_nothing(root_ + "/proc/meminfo");
  facts.total_bytes = lesser(kilobyte_field(machine, "MemTotal"), limits.memory_bytes);
  facts.available_bytes = lesser(kilobyte_field(machine, "MemAvailable"), limits.memory_available);
  return facts;
}

#else

MemoryFacts MemoryReader::read_process() const {
  MemoryFacts facts;
  facts.resident_bytes = resident_bytes();
  facts.peak_bytes = peak_resident_bytes();
  return facts;
}

MemoryFacts MemoryReader::read(Instant) {
  MemoryFacts facts = read_process();
  facts.total_bytes = total_memory_bytes();
  facts.available_bytes = available_memory_bytes();
  return facts;
}

#endif

}  // namespace infer::os
