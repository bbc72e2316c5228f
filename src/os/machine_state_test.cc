#include "os/machine_state.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "testing/test_folder.h"

namespace infer::os {
namespace {

namespace fs = std::filesystem;

class MachineStateTest : public ::testing::Test {
 protected:
  void write(const std::string& path, const std::string& text) {
    const fs::path file = root_.string() + path;
    fs::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  const testing::TestFolder own_;
  const fs::path& root_ = own_.path();
};

TEST_F(MachineStateTest, WhatTheSystemDoesNotTellIsUnknown) {
  const MachineState state = read_machine_state(root_.string());
  EXPECT_FALSE(state.memory_stalls);
  EXPECT_FALSE(state.cpu_celsius);
  EXPECT_FALSE(state.frequency_share);
}

TEST_F(MachineStateTest, TheOwnGroupsStallsComeBeforeTheMachines) {
  write("/proc/pressure/memory", "some avg10=12.50 avg60=1.00 avg300=0.10 total=5\nfull avg10=99.00 avg60=0 total=0\n");
  EXPECT_DOUBLE_EQ(read_machine_state(root_.string()).memory_stalls.value_or(-1), 0.125);
  write("/proc/self/cgroup", "0::/a/b\n");
  write("/sys/fs/cgroup/a/b/memory.pressure", "some avg10=50.00 avg60=0.00 avg300=0.00 total=0\n");
  EXPECT_DOUBLE_EQ(read_machine_state(root_.string()).memory_stalls.value_or(-1), 0.5);
}

TEST_F(MachineStateTest, TheHottestSensorOfTheProcessorCounts) {
  write("/sys/class/thermal/thermal_zone0/type", "acpitz\n");
  write("/sys/class/thermal/thermal_zone0/temp", "120000\n");
  write("/sys/class/thermal/thermal_zone1/type", "x86_pkg_temp\n");
  write("/sys/class/thermal/thermal_zone1/temp", "61000\n");
  write("/sys/class/hwmon/hwmon0/name", "k10temp\n");
  write("/sys/class/hwmon/hwmon0/temp1_input", "72500\n");
  EXPECT_DOUBLE_EQ(read_machine_state(root_.string()).cpu_celsius.value_or(-1), 72.5);
}

TEST_F(MachineStateTest, FrequencyIsAShareOfTheHighest) {
  write("/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "1200000\n");
  write("/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq", "4800000\n");
  EXPECT_DOUBLE_EQ(read_machine_state(root_.string()).frequency_share.value_or(-1), 0.25);
}

TEST_F(MachineStateTest, WhatTellsNothingIsLookedForAgainAfterAWhile) {
  const auto at = [](double seconds) { return Instant::from_ns(0) + Duration::from_seconds(seconds); };
  write("/sys/class/thermal/thermal_zone0/type", "coretemp\n");
  write("/sys/class/thermal/thermal_zone0/temp", "50000\n");
  MachineStateReader reader(root_.string());
  EXPECT_DOUBLE_EQ(reader.read(at(0)).cpu_celsius.value_or(-1), 50);
  write("/sys/class/thermal/thermal_zone0/temp", "90000\n");
  write("/proc/pressure/memory", "some avg10=10.00 avg60=0 avg300=0 total=0\n");
  EXPECT_DOUBLE_EQ(reader.read(at(9)).cpu_celsius.value_or(-1), 90);
  EXPECT_FALSE(reader.read(at(9)).memory_stalls);
  EXPECT_DOUBLE_EQ(reader.read(at(10)).memory_stalls.value_or(-1), 0.1);
  fs::remove_all(root_);
  EXPECT_FALSE(reader.read(at(11)).cpu_celsius);
  EXPECT_FALSE(reader.read(at(11)).memory_stalls);
}

TEST_F(MachineStateTest, WhatWasReadHalfASecondAgoIsReadAgain) {
  const auto at = [](double seconds) { return Instant::from_ns(0) + Duration::from_seconds(seconds); };
  write("/proc/pressure/memory", "some avg10=10.00 avg60=0 avg300=0 total=0\n");
  MachineStateReader reader(root_.string());
  EXPECT_DOUBLE_EQ(reader.read(at(1)).memory_stalls.value_or(-1), 0.1);
  write("/proc/pressure/memory", "some avg10=20.00 avg60=0 avg300=0 total=0\n");
  EXPECT_DOUBLE_EQ(reader.read(at(1.499)).memory_stalls.value_or(-1), 0.1);
  EXPECT_DOUBLE_EQ(reader.read(at(1.5)).memory_stalls.value_or(-1), 0.2);
  write("/proc/pressure/memory", "some avg10=30.00 avg60=0 avg300=0 total=0\n");
  EXPECT_DOUBLE_EQ(reader.read(at(1.999)).memory_stalls.value_or(-1), 0.2);
  EXPECT_DOUBLE_EQ(reader.read(at(2)).memory_stalls.value_or(-1), 0.3);
}

}  // namespace
}  // namespace infer::os
