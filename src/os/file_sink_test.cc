#include "os/file_sink.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "testing/test_folder.h"

namespace infer::os {
namespace {

namespace fs = std::filesystem;

std::string content(const fs::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return std::string((std::istreambuf_iterator<char>(stream)), std::istreambuf_iterator<char>());
}

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

class FileSinkTest : public ::testing::Test {
 protected:
  size_t files() const { return static_cast<size_t>(std::distance(fs::directory_iterator(folder_), {})); }

  const testing::TestFolder own_;
  const fs::path& folder_ = own_.path();
  const std::string path_ = own_.file("out.bin");
};

TEST_F(FileSinkTest, SeveralWriteOneFileAndTheLastToFinishStays) {
  auto first = FileSink::create_beside_others(path_);
  auto second = FileSink::create_beside_others(path_);
  auto third = FileSink::create_beside_others(path_);
  ASSERT_TRUE(first && second && third);
  ASSERT_TRUE(first->write(bytes_of("first")).has_value());
  ASSERT_TRUE(second->write(bytes_of("second, longer")).has_value());
  ASSERT_TRUE(third->write(bytes_of("given up")).has_value());
  EXPECT_FALSE(fs::exists(path_));
  ASSERT_TRUE(second->publish().has_value());
  EXPECT_EQ(content(path_), "second, longer");
  ASSERT_TRUE(first->publish().has_value());
  EXPECT_EQ(content(path_), "first");
  EXPECT_FALSE(first->write(bytes_of("more")).has_value());
  third = Error{ErrorCode::kCancelled, ""};
  EXPECT_EQ(files(), 1u);
}

TEST_F(FileSinkTest, NothingIsSeenUntilCommitAndAllOfItAfter) {
  std::ofstream(path_) << "old";
  auto sink = FileSink::create(path_);
  ASSERT_TRUE(sink.has_value()) << sink.error().message;
  std::string expected;
  for (int i = 0; i < 2000; ++i) {
    const std::string piece(static_cast<size_t>(i % 700), static_cast<char>('a' + i % 26));
    ASSERT_TRUE(sink->write(bytes_of(piece)).has_value());
    expected += piece;
  }
  const std::string large(1 << 20, 'L');
  ASSERT_TRUE(sink->write(bytes_of(large)).has_value());
  expected += large;
  EXPECT_EQ(content(path_), "old");
  FileSink moved = *std::move(sink);
  ASSERT_TRUE(moved.commit().has_value());
  EXPECT_EQ(content(path_), expected);
  EXPECT_EQ(moved.bytes_written(), expected.size());
  EXPECT_EQ(files(), 1u);
  EXPECT_FALSE(moved.write(bytes_of("more")).has_value());
  EXPECT_FALSE(moved.commit().has_value());
}

TEST_F(FileSinkTest, WithoutCommitTheOldFileStaysAndNothingElse) {
  std::ofstream(path_) << "old";
  {
    auto sink = FileSink::create(path_);
    ASSERT_TRUE(sink.has_value());
    ASSERT_TRUE(sink->write(bytes_of("new")).has_value());
  }
  EXPECT_EQ(content(path_), "old");
  EXPECT_EQ(files(), 1u);
}

TEST_F(FileSinkTest, AMissingFolderIsNamedWithTheRemedy) {
  const auto sink = FileSink::create((folder_ / "none" / "out.bin").string());
  ASSERT_FALSE(sink.has_value());
  EXPECT_EQ(sink.error().code, ErrorCode::kNotFound);
  EXPECT_NE(sink.error().message.find("create the folder first"), std::string::npos) << sink.error().message;
}

TEST_F(FileSinkTest, AFolderInTheWayFailsAtCommitAndLeavesNothing) {
  fs::create_directories(path_ + "/inside");
  auto sink = FileSink::create(path_);
  ASSERT_TRUE(sink.has_value());
  EXPECT_EQ(sink->commit().error().code, ErrorCode::kIo);
  EXPECT_EQ(files(), 1u);
}

// A limit on file sizes stands for a full disk: the same path through the code, without filling one.
TEST_F(FileSinkTest, WhenNoMoreFitsTheErrorSaysSoAndTheRestIsRemoved) {
  struct rlimit old{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old), 0);
  const struct rlimit small{600'000, old.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const auto previous = std::signal(SIGXFSZ, SIG_IGN);
  auto sink = FileSink::create(path_);
  ASSERT_TRUE(sink.has_value());
  const std::string large(1 << 20, 'L');
  const Status written = sink->write(bytes_of(large));
  const Status again = sink->write(bytes_of("x"));
  const Status committed = sink->commit();
  std::signal(SIGXFSZ, previous);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &old), 0);
  ASSERT_FALSE(written.has_value());
  EXPECT_EQ(written.error().code, ErrorCode::kExhausted);
  EXPECT_NE(written.error().message.find("600000 bytes"), std::string::npos) << written.error().message;
  EXPECT_FALSE(again.has_value());
  EXPECT_FALSE(committed.has_value());
  EXPECT_EQ(files(), 0u);
}

}  // namespace
}  // namespace infer::os
