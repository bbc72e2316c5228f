#include "os/block_file.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <filesystem>
#include <iterator>
#include <string>
#include <vector>

#include "testing/property.h"
#include "testing/test_folder.h"

namespace infer::os {
namespace {

namespace fs = std::filesystem;

class BlockFileTest : public ::testing::Test {
 protected:
  std::unique_ptr<BlockFile> create() const { return create_block_file(folder_.string()).value(); }
  size_t names() const { return static_cast<size_t>(std::distance(fs::directory_iterator(folder_), {})); }

  const testing::TestFolder own_;
  const fs::path& folder_ = own_.path();
};

Status write_one(BlockFile& file, uint64_t offset, std::span<const std::byte> bytes) {
  const std::span<const std::byte> parts[] = {bytes};
  return file.write(offset, parts);
}
Status read_one(BlockFile& file, uint64_t offset, std::span<std::byte> bytes) {
  const std::span<std::byte> parts[] = {bytes};
  return file.read(offset, parts);
}

std::vector<std::byte> random_bytes(Rng& rng, size_t count) {
  std::vector<std::byte> bytes(count);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(rng.next());
  return bytes;
}

TEST_F(BlockFileTest, ReturnsWhatWasWrittenForAnyOffsetsAndParts) {
  constexpr size_t kBytes = 300'000;
  testing::for_each_case(20, [&](Rng& rng) {
    const auto file = create();
    ASSERT_TRUE(file->reserve(0, kBytes).has_value());
    std::vector<std::byte> model(kBytes);
    for (int i = 0; i < 30; ++i) {
      // More parts than one call to the system takes, some of them empty.
      std::vector<std::vector<std::byte>> content(1 + rng.below(150));
      size_t total = 0;
      for (auto& part : content) total += (part = random_bytes(rng, rng.below(4) == 0 ? 0 : rng.below(1000))).size();
      const size_t offset = rng.below(static_cast<uint32_t>(kBytes - total));
      std::vector<std::span<const std::byte>> parts(content.begin(), content.end());
      ASSERT_TRUE(file->write(offset, parts).has_value());
      size_t at = offset;
      for (const auto& part : content) at = std::copy(part.begin(), part.end(), model.begin() + at) - model.begin();
      std::vector<std::vector<std::byte>> found(1 + rng.below(150));
      std::vector<std::span<std::byte>> targets;
      total = 0;
      for (auto& part : found) {
        part.resize(rng.below(1000));
        total += part.size();
        targets.emplace_back(part);
      }
      const size_t from = rng.below(static_cast<uint32_t>(kBytes - total));
      ASSERT_TRUE(file->read(from, targets).has_value());
      at = from;
      for (const auto& part : found) {
        ASSERT_TRUE(std::equal(part.begin(), part.end(), model.begin() + static_cast<ptrdiff_t>(at)));
        at += part.size();
      }
    }
  });
}

TEST_F(BlockFileTest, HasNoNameAndSeveralDoNotMeet) {
  const auto first = create(), second = create();
  EXPECT_EQ(names(), 0u);
  const std::vector<std::byte> one(4096, std::byte{1}), two(4096, std::byte{2});
  ASSERT_TRUE(write_one(*first, 0, one).has_value());
  ASSERT_TRUE(write_one(*second, 0, two).has_value());
  std::vector<std::byte> found(4096);
  ASSERT_TRUE(read_one(*first, 0, found).has_value());
  EXPECT_EQ(found, one);
  EXPECT_EQ(names(), 0u);
}

TEST_F(BlockFileTest, ReservedRoomReadsAsZerosAndWhatWasReleasedAgain) {
  const auto file = create();
  ASSERT_TRUE(file->reserve(0, 1 << 20).has_value());
  std::vector<std::byte> found(1 << 20, std::byte{7});
  const std::vector<std::byte> ones(1 << 20, std::byte{1}), zeros(1 << 20);
  ASSERT_TRUE(read_one(*file, 0, found).has_value());
  EXPECT_EQ(found, zeros);
  ASSERT_TRUE(write_one(*file, 0, ones).has_value());
  if (!file->release(0, 1 << 20)) GTEST_SKIP() << "this file system has no holes";
  ASSERT_TRUE(read_one(*file, 0, found).has_value());
  EXPECT_EQ(found, zeros);
}

TEST_F(BlockFileTest, ReadingPastTheEndSaysWhere) {
  const auto file = create();
  ASSERT_TRUE(file->reserve(0, 4096).has_value());
  std::vector<std::byte> found(4096);
  const Status past = read_one(*file, 4000, found);
  ASSERT_FALSE(past.has_value());
  EXPECT_EQ(past.error().code, ErrorCode::kIo);
  EXPECT_NE(past.error().message.find("4000 bytes at 4096"), std::string::npos) << past.error().message;
}

TEST_F(BlockFileTest, AFolderThatIsMissingOrForbiddenIsNamed) {
  const auto missing = create_block_file((folder_ / "missing").string());
  ASSERT_FALSE(missing.has_value());
  EXPECT_EQ(missing.error().code, ErrorCode::kNotFound);
  EXPECT_NE(missing.error().message.find("missing: cannot create a file in it"), std::string::npos);
  EXPECT_NE(missing.error().message.find("create the folder first"), std::string::npos);
  EXPECT_FALSE(create_block_file("/proc/self").has_value());
}

TEST_F(BlockFileTest, AFileSizeLimitIsAnErrorWithNumbers) {
  const auto previous = std::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  rlimit small = before;
  small.rlim_cur = 64 * 1024;
  const auto file = create();
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const Status reserved = file->reserve(0, 128 * 1024);
  const std::vector<std::byte> bytes(128 * 1024);
  const Status written = write_one(*file, 0, bytes);
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, previous);
  ASSERT_FALSE(reserved.has_value());
  EXPECT_EQ(reserved.error().code, ErrorCode::kExhausted);
  EXPECT_NE(reserved.error().message.find("131072 bytes at 0"), std::string::npos) << reserved.error().message;
  ASSERT_FALSE(written.has_value()) << "half of it was taken, the other half was not";
  EXPECT_EQ(written.error().code, ErrorCode::kExhausted);
  EXPECT_NE(written.error().message.find("65536 bytes at 65536"), std::string::npos) << written.error().message;
}

TEST_F(BlockFileTest, OffsetsThatNoFileHasAreRefused) {
  const auto file = create();
  std::vector<std::byte> bytes(4096);
  EXPECT_EQ(file->reserve(~uint64_t{0} - 10'000, 4096).error().code, ErrorCode::kExhausted);
  EXPECT_FALSE(write_one(*file, ~uint64_t{0} - 10'000, bytes).has_value());
  EXPECT_FALSE(read_one(*file, ~uint64_t{0} - 10'000, bytes).has_value());
}

TEST_F(BlockFileTest, AProcessThatIsKilledWhileItWritesLeavesNothing) {
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    // Only calls of the system from here: other threads of the parent may have held locks.
    auto file = create_block_file(folder_.string());
    std::array<std::byte, 4096> bytes{};
    for (uint64_t at = 0; file.has_value(); at = (at + bytes.size()) % (1 << 24)) {
      if (!write_one(**file, at, bytes).has_value()) ::_exit(1);
      if (at == 1 << 20) (void)!::write(ready[1], "x", 1);
    }
    ::_exit(2);
  }
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  ASSERT_EQ(::kill(child, SIGKILL), 0);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ::close(ready[0]);
  ::close(ready[1]);
  EXPECT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(names(), 0u);
  const auto next = create();
  EXPECT_TRUE(write_one(*next, 0, std::vector<std::byte>(4096)).has_value());
}

TEST(BlockFile, MemoryThatPosesAsAFolderIsRecognized) {
  EXPECT_FALSE(folder_is_in_memory("/nowhere/at/all"));
  EXPECT_FALSE(folder_is_in_memory("/proc"));
  if (!fs::exists("/dev/shm")) GTEST_SKIP() << "no /dev/shm here";
  EXPECT_TRUE(folder_is_in_memory("/dev/shm"));
}

}  // namespace
}  // namespace infer::os
