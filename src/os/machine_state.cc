#include "os/machine_state.h"

#include <algorithm>
#include <charconv>
#include <string_view>

#include "os/text_file.h"

namespace infer::os {

namespace {

constexpr size_t kBytesMax = 64 * 1024;
constexpr int kSensorsMax = 32;

std::optional<std::string> text_of(const std::string& path) {
  auto text = read_text_file(path, kBytesMax);
  if (!text) return std::nullopt;
  return *std::move(text);
}

std::optional<double> number(std::string_view text) {
  double value = 0;
  const auto end = std::from_chars(text.data(), text.data() + text.size(), value);
  return end.ec == std::errc() ? std::optional(value) : std::nullopt;
}

// "some avg10=1.23 avg60=..." in a file of pressure stall information.
std::optional<double> stalls(const std::string& path) {
  const auto text = text_of(path);
  if (!text) return std::nullopt;
  constexpr std::string_view kBefore = "some avg10=";
  const size_t at = text->find(kBefore);
  if (at == std::string::npos) return std::nullopt;
  const auto percent = number(std::string_view(*text).substr(at + kBefore.size()));
  return percent ? std::optional(std::clamp(*percent / 100, 0.0, 1.0)) : std::nullopt;
}

// Of version 2: the line "0::/path" of /proc/self/cgroup.
std::optional<std::string> own_group(const std::string& root) {
  const auto text = text_of(root + "/proc/self/cgroup");
  if (!text) return std::nullopt;
  const size_t at = text->find("0::/");
  if (at == std::string::npos) return std::nullopt;
  const std::string path = text->substr(at + 3, text->find('\n', at) - at - 3);
  return path.find("..") == std::string::npos ? std::optional(path) : std::nullopt;
}

bool is_of_processor(std::string_view name) {
  for (const std::string_view known : {"x86_pkg_temp", "coretemp", "k10temp", "zenpower", "cpu", "soc"}) {
    if (name.substr(0, known.size()) == known) return true;
  }
  return false;
}

// Where its temperatures are.
std::vector<std::string> processor_sensors(const std::string& root) {
  std::vector<std::string> sensors;
  const auto look = [&](const std::string& name_path, const std::string& value_path) {
    const auto name = text_of(name_path);
    if (name && is_of_processor(*name)) sensors.push_back(value_path);
    return name.has_value();
  };
  for (int i = 0; i < kSensorsMax; ++i) {
    const std::string zone = root + "/sys/class/thermal/thermal_zone" + std::to_string(i);
    if (!look(zone + "/type", zone + "/temp")) break;
  }
  for (int i = 0; i < kSensorsMax; ++i) {
    const std::string chip = root + "/sys/class/hwmon/hwmon" + std::to_string(i);
    if (!look(chip + "/name", chip + "/temp1_input")) break;
  }
  return sensors;
}

std::optional<double> read_number(const std::string& path) {
  const auto text = text_of(path);
  return text ? number(*text) : std::nullopt;
}

}  // namespace

void MachineStateReader::find() {
  stalls_.clear();
  if (const auto group = own_group(root_)) {
    stalls_ = root_ + "/sys/fs/cgroup" + (*group == "/" ? "" : *group) + "/memory.pressure";
  }
  if (stalls_.empty() || !stalls(stalls_)) stalls_ = root_ + "/proc/pressure/memory";
  if (!stalls(stalls_)) stalls_.clear();
  sensors_ = processor_sensors(root_);
  const std::string folder = root_ + "/sys/devices/system/cpu/cpu0/cpufreq";
  highest_khz_ = read_number(folder + "/cpuinfo_max_freq").value_or(0);
  frequency_ = highest_khz_ > 0 ? folder + "/scaling_cur_freq" : "";
}

MachineState MachineStateReader::read(Instant now) {
  if (read_at_ && now - *read_at_ < kReadAgain) return state_;
  if (!found_at_ || now - *found_at_ >= kFindAgain) {
    find();
    found_at_ = now;
  }
  read_at_ = now;
  return state_ = read_files();
}

MachineState MachineStateReader::read_files() const {
  MachineState state;
  if (!stalls_.empty()) state.memory_stalls = stalls(stalls_);
  for (const std::string& sensor : sensors_) {
    const auto millidegrees = read_number(sensor);
    if (millidegrees) state.cpu_celsius = std::max(state.cpu_celsius.value_or(-273), *millidegrees / 1000);
  }
  const auto khz = frequency_.empty() ? std::nullopt : read_number(frequency_);
  if (khz) state.frequency_share = std::clamp(*khz / highest_khz_, 0.0, 1.0);
  return state;
}

MachineState read_machine_state(const std::string& root) { return MachineStateReader(root).read(Instant()); }

}  // namespace infer::os
