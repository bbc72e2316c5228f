#include "os/file_map.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>
#include <utility>

#if !defined(_WIN32)
#include <sys/stat.h>

#include "testing/test_folder.h"
#endif

namespace infer::os {
namespace {

class FileMapTest : public ::testing::Test {
 protected:
  std::string write(const std::string& name, const std::string& text) {
    const std::string path = (folder_ / name).string();
    std::ofstream(path, std::ios::binary) << text;
    return path;
  }

  const testing::TestFolder own_;
  const std::filesystem::path& folder_ = own_.path();
};

std::string pattern(size_t size) {
  std::string text(size, '\0');
  for (size_t i = 0; i < size; ++i) text[i] = static_cast<char>('a' + (i * 7 + i / 4096) % 26);
  return text;
}

bool holds(const FileMap& file, const std::string& text) {
  const std::span<const std::byte> bytes = file.bytes();
  return bytes.size() == text.size() && std::equal(bytes.begin(), bytes.end(), text.begin(),
                                                   [](std::byte a, char b) { return a == static_cast<std::byte>(b); });
}

TEST_F(FileMapTest, MapsTheWholeFileByteForByte) {
  for (const size_t size : {size_t{1}, size_t{4095}, size_t{4096}, size_t{4097}, size_t{100'000}}) {
    const std::string text = pattern(size);
    const Result<FileMap> file = FileMap::open(write("data", text));
    ASSERT_TRUE(file) << file.error().message;
    EXPECT_TRUE(holds(*file, text)) << size;
  }
}

TEST_F(FileMapTest, APartThatSettlesInMemoryReadsTheSameForWhoReadsItMeanwhile) {
  const std::string text = pattern((size_t{40} << 20) + 12345);
  const std::string path = write("data", text);
  const Result<FileMap> file = FileMap::open(path);
  ASSERT_TRUE(file) << file.error().message;
  std::atomic<bool> settled = false;
  int rounds = 0;
  bool same = true;
  std::thread reader([&] {
    for (bool last = false; !last; ++rounds) {
      last = settled;  // One round begins when all is settled.
      same = same && holds(*file, text);
    }
  });
  const Status status = file->settle_in_memory(file->bytes().subspan(4000), CancelToken());
  settled = true;
  reader.join();
  EXPECT_TRUE(status) << status.error().message;
  EXPECT_TRUE(same) << "in one of " << rounds << " rounds";
#if defined(__linux__)
  std::ofstream(path, std::ios::in | std::ios::binary).seekp(size_t{20} << 20) << "changed";
  EXPECT_TRUE(holds(*file, text)) << "the middle is still the file's";
#endif
}

TEST_F(FileMapTest, SettlingStopsWhenCancelledAndLeavesTheFileReadable) {
  const std::string text = pattern(size_t{8} << 20);
  const Result<FileMap> file = FileMap::open(write("data", text));
  ASSERT_TRUE(file) << file.error().message;
  CancelSource cancel;
  cancel.cancel(CancelReason::kShutdown);
  const Status status = file->settle_in_memory(file->bytes(), cancel.token());
#if defined(__linux__)
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, ErrorCode::kCancelled);
#endif
  EXPECT_TRUE(holds(*file, text));
}

TEST_F(FileMapTest, MissingFileIsNotFoundAndNamesThePath) {
  const std::string path = (folder_ / "missing.gguf").string();
  const Result<FileMap> file = FileMap::open(path);
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().code, ErrorCode::kNotFound);
  EXPECT_NE(file.error().message.find(path), std::string::npos);
}

TEST_F(FileMapTest, PathThroughAFileIsNotFound) {
  const Result<FileMap> file = FileMap::open(write("plain", "x") + "/inside");
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().code, ErrorCode::kNotFound);
}

TEST_F(FileMapTest, DirectoryIsRefusedAsSuch) {
  const Result<FileMap> file = FileMap::open(folder_.string());
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().code, ErrorCode::kInvalidArgument);
  EXPECT_NE(file.error().message.find("directory"), std::string::npos);
}

TEST_F(FileMapTest, EmptyFileIsRefusedAsSuch) {
  const std::string path = write("empty", "");
  const Result<FileMap> file = FileMap::open(path);
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().code, ErrorCode::kInvalidArgument);
  EXPECT_NE(file.error().message.find("empty"), std::string::npos);
  EXPECT_NE(file.error().message.find(path), std::string::npos);
}

#if !defined(_WIN32)
TEST_F(FileMapTest, PipeIsRefusedWithoutWaitingForAWriter) {
  const std::string path = (folder_ / "pipe").string();
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  const Result<FileMap> file = FileMap::open(path);
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().code, ErrorCode::kInvalidArgument);
}

TEST_F(FileMapTest, DeviceIsRefused) {
  const Result<FileMap> file = FileMap::open("/dev/zero");
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().code, ErrorCode::kInvalidArgument);
}
#endif

TEST_F(FileMapTest, MovesKeepTheBytes) {
  const std::string a = pattern(5000);
  const std::string b = pattern(9000);
  Result<FileMap> first = FileMap::open(write("a", a));
  Result<FileMap> second = FileMap::open(write("b", b));
  ASSERT_TRUE(first && second);
  FileMap moved = std::move(*first);
  EXPECT_TRUE(holds(moved, a));
  moved = std::move(*second);
  EXPECT_TRUE(holds(moved, b));
}

TEST_F(FileMapTest, DroppedPagesComeBackFromTheFile) {
  const std::string text = pattern(64 * 4096 + 123);
  const Result<FileMap> file = FileMap::open(write("data", text));
  ASSERT_TRUE(file);
  EXPECT_TRUE(holds(*file, text));
  file->drop_resident(file->bytes());
  EXPECT_TRUE(holds(*file, text));
  // Odd parts, down to empty ones and those without a whole page.
  for (const size_t begin : {size_t{0}, size_t{1}, size_t{4095}, size_t{4096}, size_t{200'000}}) {
    for (const size_t size : {size_t{0}, size_t{1}, size_t{4096}, size_t{8192}, size_t{50'000}}) {
      const std::span<const std::byte> part = file->bytes().subspan(begin, size);
      file->will_need(part);
      file->drop_resident(part);
    }
  }
  EXPECT_TRUE(holds(*file, text));
}

}  // namespace
}  // namespace infer::os
