// Memory of this process and of the machine, for somebody who asks many times a second.
//
// Finding out which control groups limit memory takes dozens of files, reading those that do a few: groups are looked
// for again each kFindAgain. What the system does not tell is nullopt.
// Thread safety: one thread. Ownership: owns what it found.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/time.h"
#include "os/cgroup_linux.h"

namespace infer::os {

struct MemoryFacts {
  std::optional<uint64_t> resident_bytes, peak_bytes;  // Of this process.
  // Of the machine, or of the container where that is less (os/process_facts.h).
  std::optional<uint64_t> total_bytes, available_bytes;
};

class MemoryReader {
 public:
  static constexpr Duration kFindAgain = Duration::from_seconds(10);

  // `root` is put before /proc and /sys: "" on a real machine, a folder in tests.
  explicit MemoryReader(std::string root = "") : root_(std::move(root)) {}

  MemoryFacts read(Instant now);
  // Of the process alone.
  MemoryFacts read_process() const;

 private:
  const std::string root_;
  std::optional<Instant> found_at_;
  std::vector<MemoryGroup> groups_;
};

}  // namespace infer::os
