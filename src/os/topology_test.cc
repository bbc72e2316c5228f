#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/format.h"
#include "os/cgroup_linux.h"
#include "os/memory_reader.h"
#include "os/topology_linux.h"
#include "testing/test_folder.h"

#if defined(__linux__)

namespace infer::os {
namespace {

namespace fs = std::filesystem;

// A made-up /proc and /sys.
class MachineTest : public ::testing::Test {
 protected:
  void put(const std::string& path, const std::string& text) {
    const fs::path file = root_ / path;
    fs::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  void put_cpu(int cpu, int package, int core) {
    const std::string folder = format("sys/devices/system/cpu/cpu{}/topology/", cpu);
    put(folder + "physical_package_id", format("{}\n", package));
    put(folder + "core_id", format("{}\n", core));
  }
  std::string root() const { return root_.string(); }

  const testing::TestFolder own_;
  const fs::path& root_ = own_.path();
};

TEST_F(MachineTest, HardwareThreadsOfOneCoreCountOnce) {
  for (int cpu = 0; cpu < 16; ++cpu) put_cpu(cpu, cpu / 4 % 2, cpu % 4);  // 2 packages, 4 cores each, 2 threads each.
  const int all[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  EXPECT_EQ(read_topology_of(all, root()).logical_cpus, 16);
  EXPECT_EQ(read_topology_of(all, root()).physical_cores, 8);
  const int siblings[] = {1, 9};
  EXPECT_EQ(read_topology_of(siblings, root()).physical_cores, 1);
  const int same_core_number_of_two_packages[] = {1, 5};
  EXPECT_EQ(read_topology_of(same_core_number_of_two_packages, root()).physical_cores, 2);
}

TEST_F(MachineTest, AMachineThatTellsNothingHasACorePerCpu) {
  const int cpus[] = {3, 4, 900};
  const Topology topology = read_topology_of(cpus, root());
  EXPECT_EQ(topology.physical_cores, 3);
  EXPECT_EQ(topology.compute_threads(), 3);
  EXPECT_EQ(topology.cpu_quota, std::nullopt);
  EXPECT_EQ(topology.l3_bytes, 0u);
}

TEST_F(MachineTest, CachesAreReadByLevelWithoutTheInstructionCache) {
  const char* caches[][3] = {
      {"1", "Data", "48K"}, {"1", "Instruction", "32K"}, {"2", "Unified", "2048K"}, {"3", "Unified", "33M"}};
  for (size_t i = 0; i < 4; ++i) {
    put(format("sys/devices/system/cpu/cpu2/cache/index{}/level", i), format("{}\n", caches[i][0]));
    put(format("sys/devices/system/cpu/cpu2/cache/index{}/type", i), format("{}\n", caches[i][1]));
    put(format("sys/devices/system/cpu/cpu2/cache/index{}/size", i), format("{}\n", caches[i][2]));
  }
  const int cpus[] = {2};
  const Topology topology = read_topology_of(cpus, root());
  EXPECT_EQ(topology.l1_data_bytes, 48u << 10);
  EXPECT_EQ(topology.l2_bytes, 2u << 20);
  EXPECT_EQ(topology.l3_bytes, 33u << 20);
}

TEST(CacheSize, RefusesWhatItDoesNotKnow) {
  EXPECT_EQ(parse_cache_size("512"), 512u);
  for (const char* text : {"", "K", "12Q", "-4K", "99999999999999999999K", "1 M"}) {
    EXPECT_EQ(parse_cache_size(text), 0u) << text;
  }
}

TEST_F(MachineTest, TheStrictestGroupOfVersion2Counts) {
  put("proc/self/cgroup", "0::/system.slice/app\n");
  put("sys/fs/cgroup/system.slice/app/cpu.max", "400000 100000\n");
  put("sys/fs/cgroup/system.slice/cpu.max", "150000 100000\n");
  put("sys/fs/cgroup/system.slice/app/memory.max", "max\n");
  put("sys/fs/cgroup/system.slice/memory.max", "1000000\n");
  put("sys/fs/cgroup/system.slice/memory.current", "700000\n");
  put("sys/fs/cgroup/system.slice/memory.stat", "anon 1\ninactive_file_x 9\ninactive_file 200000\nfile 5\n");
  const CgroupLimits limits = read_cgroup_limits(root());
  EXPECT_EQ(limits.cpus, 1.5);
  EXPECT_EQ(limits.memory_bytes, 1'000'000u);
  EXPECT_EQ(limits.memory_available, 500'000u);
}

TEST_F(MachineTest, AContainerOfVersion2SeesItsLimitsAtTheRoot) {
  put("proc/self/cgroup", "0::/../../docker/abc\n");
  put("sys/fs/cgroup/cpu.max", "max 100000\n");
  put("sys/fs/cgroup/memory.max", "5000\n");
  put("sys/fs/cgroup/memory.current", "9000\n");  // Over the limit already.
  const CgroupLimits limits = read_cgroup_limits(root());
  EXPECT_EQ(limits.cpus, std::nullopt);
  EXPECT_EQ(limits.memory_bytes, 5000u);
  EXPECT_EQ(limits.memory_available, 0u);
}

TEST_F(MachineTest, Version1KnowsQuotaAndMemoryByController) {
  put("proc/self/cgroup", "5:memory:/docker/x\n4:cpuset:/\n3:cpu,cpuacct:/docker/x\n1:name=systemd:/\n0::/\n");
  put("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
  put("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
  put("sys/fs/cgroup/cpu,cpuacct/docker/x/cpu.cfs_quota_us", "50000\n");
  put("sys/fs/cgroup/cpu,cpuacct/docker/x/cpu.cfs_period_us", "100000\n");
  put("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  put("sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes", "4096000\n");
  put("sys/fs/cgroup/memory/docker/x/memory.usage_in_bytes", "4000000\n");
  put("sys/fs/cgroup/memory/docker/x/memory.stat", "cache 1\ntotal_inactive_file 1000000\n");
  const CgroupLimits limits = read_cgroup_limits(root());
  EXPECT_EQ(limits.cpus, 0.5);
  EXPECT_EQ(limits.memory_bytes, 4'096'000u);
  EXPECT_EQ(limits.memory_available, 1'096'000u);
}

TEST_F(MachineTest, MemoryIsReadOfGroupsThatLimitItAndNewLimitsAreFoundAfterAWhile) {
  const auto at = [](double seconds) { return Instant::from_ns(0) + Duration::from_seconds(seconds); };
  put("proc/self/cgroup", "0::/a/b\n");
  put("proc/self/status", "Name:\tx\nVmHWM:\t    30 kB\nVmRSS:\t    20 kB\n");
  put("proc/meminfo", "MemTotal:       1000 kB\nMemFree:          10 kB\nMemAvailable:    600 kB\n");
  put("sys/fs/cgroup/a/memory.max", "512000\n");
  put("sys/fs/cgroup/a/memory.current", "102400\n");
  MemoryReader reader(root());
  MemoryFacts facts = reader.read(at(0));
  EXPECT_EQ(facts.resident_bytes, 20u * 1024);
  EXPECT_EQ(facts.peak_bytes, 30u * 1024);
  EXPECT_EQ(facts.total_bytes, 512'000u);
  EXPECT_EQ(facts.available_bytes, 409'600u);
  put("sys/fs/cgroup/a/memory.current", "412000\n");
  put("sys/fs/cgroup/a/b/memory.max", "50000\n");
  put("sys/fs/cgroup/a/b/memory.current", "10000\n");
  EXPECT_EQ(reader.read(at(5)).available_bytes, 100'000u) << "Of what is known to be limited.";
  facts = reader.read(at(10));
  EXPECT_EQ(facts.total_bytes, 50'000u);
  EXPECT_EQ(facts.available_bytes, 40'000u);
}

TEST_F(MachineTest, BrokenFilesSetNoLimit) {
  put("proc/self/cgroup", "nonsense\n0::\n::\n7:cpu\n0::/a\n");
  put("sys/fs/cgroup/a/cpu.max", "100000");
  put("sys/fs/cgroup/a/memory.max", "-5\n");
  put("sys/fs/cgroup/cpu.max", "100000 0\n");
  const CgroupLimits limits = read_cgroup_limits(root());
  EXPECT_EQ(limits.cpus, std::nullopt);
  EXPECT_EQ(limits.memory_bytes, std::nullopt);
  EXPECT_EQ(limits.memory_available, std::nullopt);
}

TEST(Topology, ComputeThreadsStayBelowTheQuotaAndAreNeverZero) {
  Topology topology;
  topology.physical_cores = 8;
  EXPECT_EQ(topology.compute_threads(), 8);
  topology.cpu_quota = 3.9;
  EXPECT_EQ(topology.compute_threads(), 3);
  topology.cpu_quota = 0.5;
  EXPECT_EQ(topology.compute_threads(), 1);
  topology.cpu_quota = 1e300;
  EXPECT_EQ(topology.compute_threads(), 8);
}

TEST(Topology, ThisMachineHasAtLeastOneCore) {
  const Topology topology = read_topology();
  EXPECT_GE(topology.logical_cpus, topology.physical_cores);
  EXPECT_GE(topology.physical_cores, 1);
  EXPECT_GE(topology.compute_threads(), 1);
}

}  // namespace
}  // namespace infer::os

#endif
