#include "os/machine_state.h"

#include <algorithm>
#include <charconv>
#include <string_view>

#include "os/text_file.h"

namespace infer::os {

namespace {

constexpr size_t kBytesMax = 64 * 1024;
constexpr int kSensorsMax = 32;

std::optional<std::string> read(const std::string& path) {
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
  const auto text = read(path);
  if (!text) return std::nullopt;
  constexpr std::string_view kBefore = "some avg10=";
  const size_t at = text->find(kBefore);
  if (at == std::string::npos) return std::nullopt;
  const auto percent = number(std::string_view(*text).substr(at + kBefore.size()));
  return percent ? std::optional(std::clamp(*percent / 100, 0.0, 1.0)) : std::nullopt;
}

// Of version 2: the line "0::/path" of /proc/self/cgroup.
std::optional<std::string> own_group(const std::string& root) {
  const auto text = read(root + "/proc/self/cgroup");
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

std::optional<double> hottest_sensor(const std::string& root) {
  std::optional<double> hottest;
  const auto look = [&](const std::string& name_path, const std::string& value_path) {
    const auto name = read(name_path);
    if (!name || !is_of_processor(*name)) return name.has_value();
    const auto text = read(value_path);
    const auto millidegrees = text ? number(*text) : std::nullopt;
    if (millidegrees) hottest = std::max(hottest.value_or(-273), *millidegrees / 1000);
    return true;
  };
  for (int i = 0; i < kSensorsMax; ++i) {
    const std::string zone = root + "/sys/class/thermal/thermal_zone" + std::to_string(i);
    if (!look(zone + "/type", zone + "/temp")) break;
  }
  for (int i = 0; i < kSensorsMax; ++i) {
    const std::string chip = root + "/sys/class/hwmon/hwmon" + std::to_string(i);
    if (!look(chip + "/name", chip + "/temp1_input")) break;
  }
  return hottest;
}

}  // namespace

MachineState read_machine_state(const std::string& root) {
  MachineState state;
  if (const auto group = own_group(root)) {
    state.memory_stalls = stalls(root + "/sys/fs/cgroup" + (*group == "/" ? "" : *group) + "/memory.pressure");
  }
  if (!state.memory_stalls) state.memory_stalls = stalls(root + "/proc/pressure/memory");
  state.cpu_celsius = hottest_sensor(root);
  const std::string frequency = root + "/sys/devices/system/cpu/cpu0/cpufreq";
  const auto now = read(frequency + "/scaling_cur_freq"), most = read(frequency + "/cpuinfo_max_freq");
  const auto now_khz = now ? number(*now) : std::nullopt, most_khz = most ? number(*most) : std::nullopt;
  if (now_khz && most_khz && *most_khz > 0) state.frequency_share = std::clamp(*now_khz / *most_khz, 0.0, 1.0);
  return state;
}

}  // namespace infer::os
