#include "os/process_facts.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <initializer_list>
#include <thread>

#include "base/rng.h"
#include "os/environment.h"
#include "os/page_memory.h"
#include "os/system_clock.h"
#include "os/terminal.h"
#include "testing/test_folder.h"

#if !defined(_WIN32)
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>
#endif

namespace infer::os {
namespace {

// Sanitizers keep memory of their own for each byte that is touched.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#elif defined(__has_feature)
constexpr bool kSanitized = __has_feature(address_sanitizer) || __has_feature(thread_sanitizer);
#else
constexpr bool kSanitized = false;
#endif

TEST(ProcessFacts, ResidentBytesFollowWhatIsTouched) {
  if (kSanitized) GTEST_SKIP() << "resident bytes include the sanitizer's own";
  constexpr size_t kSize = size_t{64} << 20;
  const std::optional<uint64_t> before = resident_bytes();
  ASSERT_TRUE(before);
  uint64_t during = 0;
  {
    Result<PageMemory> memory = PageMemory::allocate(kSize);
    ASSERT_TRUE(memory);
    EXPECT_LT(*resident_bytes(), *before + kSize / 2);  // Committed on first touch only.
    std::memset(memory->data(), 1, kSize);
    during = *resident_bytes();
    EXPECT_GE(during, *before + kSize * 9 / 10);
    memory->release({memory->data(), kSize});
    EXPECT_LT(*resident_bytes(), *before + kSize / 2);
  }
  EXPECT_GE(*peak_resident_bytes(), during - (size_t{1} << 20));
  EXPECT_GE(*peak_resident_bytes(), *resident_bytes());
}

TEST(ProcessFacts, AvailableMemoryIsPartOfTheTotal) {
  ASSERT_TRUE(total_memory_bytes());
  ASSERT_TRUE(available_memory_bytes());
  EXPECT_GT(*available_memory_bytes(), 0u);
  EXPECT_LE(*available_memory_bytes(), *total_memory_bytes());
}

TEST(ProcessFacts, CpuTimeGrowsWithWork) {
  const Duration start = cpu_time_used();
  EXPECT_GE(start.ns(), 0);
  // Ends only when the work shows up.
  Rng rng(1);
  uint64_t sum = 0;
  while (!(cpu_time_used() > start + Duration::from_ms(1))) {
    for (int i = 0; i < 1'000'000; ++i) sum += rng.next();
  }
  EXPECT_NE(sum, 0u);
}

TEST(ProcessFacts, AThreadsCpuTimeGrowsWithItsOwnWorkOnly) {
  const Duration start = thread_cpu_time_used();
  Rng rng(1);
  uint64_t sum = 0;
  while (!(thread_cpu_time_used() > start + Duration::from_ms(5))) {
    for (int i = 0; i < 1'000'000; ++i) sum += rng.next();
  }
  EXPECT_NE(sum, 0u);
  const Duration own = thread_cpu_time_used();
  Duration of_another;
  std::thread([&of_another] { of_another = thread_cpu_time_used(); }).join();
  EXPECT_LT(of_another, own);
  EXPECT_LE(own, cpu_time_used());  // Read last, and with another thread's time in it: each part is rounded down.
}

TEST(ProcessFacts, TheExecutableIsThisTestProgram) {
  const Result<std::string> path = executable_path();
  ASSERT_TRUE(path) << path.error().message;
  EXPECT_TRUE(std::filesystem::path(*path).is_absolute());
  EXPECT_TRUE(std::filesystem::is_regular_file(*path));
  EXPECT_NE(path->find("os_test"), std::string::npos);
}

TEST(ProcessFacts, FreeDiskSpaceIsToldForFilesThatDoNotExistYet) {
  const testing::TestFolder folder;
  const Result<uint64_t> here = free_disk_bytes(folder.path().string());
  ASSERT_TRUE(here) << here.error().message;
  EXPECT_GT(*here, 0u);
  EXPECT_TRUE(free_disk_bytes(folder.file("no/such/folder/file.gguf")));
  EXPECT_TRUE(free_disk_bytes("file-in-the-working-folder.gguf"));
  EXPECT_TRUE(free_disk_bytes("/"));
}

TEST(SystemClock, MonotonicTimeNeverGoesBackAndWallTimeIsThisCentury) {
  const SystemClock clock;
  Instant last = clock.now();
  for (int i = 0; i < 1000; ++i) {
    const Instant now = clock.now();
    ASSERT_GE(now, last);
    last = now;
  }
  EXPECT_GT(clock.wall_time().unix_ms, int64_t{1'700'000'000'000});
  EXPECT_LT(clock.wall_time().unix_ms, int64_t{4'102'444'800'000});
}

#if !defined(_WIN32)
TEST(Environment, TellsUnsetFromEmpty) {
  ::setenv("INFER_TEST_SET", "\xE6\x97\xA5", 1);
  ::setenv("INFER_TEST_EMPTY", "", 1);
  ::unsetenv("INFER_TEST_UNSET");
  EXPECT_EQ(environment_variable("INFER_TEST_SET"), "\xE6\x97\xA5");
  EXPECT_EQ(environment_variable("INFER_TEST_EMPTY"), "");
  EXPECT_EQ(environment_variable("INFER_TEST_UNSET"), std::nullopt);
}

// Puts another file in the place of standard input for its life.
class InputIs {
 public:
  explicit InputIs(int fd) : saved_(::dup(STDIN_FILENO)) { ::dup2(fd, STDIN_FILENO); }
  ~InputIs() {
    ::dup2(saved_, STDIN_FILENO);
    ::close(saved_);
  }

 private:
  int saved_;
};

TEST(Terminal, AFileIsNone) {
  const int fd = ::open("/dev/null", O_RDONLY);
  ASSERT_GE(fd, 0);
  {
    const InputIs null(fd);
    EXPECT_FALSE(is_terminal(StandardStream::kInput));
    EXPECT_EQ(terminal_columns(StandardStream::kInput), std::nullopt);
  }
  ::close(fd);
}

TEST(Terminal, TellsItsWidthAlsoAfterAResize) {
  const int master = ::posix_openpt(O_RDWR | O_NOCTTY);
  if (master < 0 || ::grantpt(master) != 0 || ::unlockpt(master) != 0) GTEST_SKIP() << "no pseudo-terminals here";
  const int slave = ::open(::ptsname(master), O_RDWR | O_NOCTTY);
  ASSERT_GE(slave, 0);
  {
    const InputIs terminal(slave);
    EXPECT_TRUE(is_terminal(StandardStream::kInput));
    for (const unsigned short columns : std::initializer_list<unsigned short>{80, 41}) {
      winsize size{};
      size.ws_col = columns;
      ASSERT_EQ(::ioctl(master, TIOCSWINSZ, &size), 0);
      EXPECT_EQ(terminal_columns(StandardStream::kInput), columns);
    }
  }
  ::close(slave);
  ::close(master);
}
#endif

}  // namespace
}  // namespace infer::os
