#include "os/text_file.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <thread>

#if !defined(_WIN32)
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "testing/test_folder.h"
#endif

namespace infer::os {
namespace {

namespace fs = std::filesystem;

class TextFileTest : public ::testing::Test {
 protected:
  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  size_t files_in_folder() const {
    return static_cast<size_t>(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()));
  }

  const testing::TestFolder own_;
  const fs::path& folder_ = own_.path();
};

TEST_F(TextFileTest, WhatIsWrittenIsRead) {
  const std::string texts[] = {"", "x", std::string("a\0b\r\n\xE3\x81\x82", 8), std::string(100'000, 'q')};
  for (const std::string& text : texts) {
    ASSERT_TRUE(write_text_file(path("file"), text));
    const Result<std::string> back = read_text_file(path("file"), 200'000);
    ASSERT_TRUE(back) << back.error().message;
    EXPECT_EQ(*back, text);
  }
  EXPECT_EQ(files_in_folder(), 1u);  // No temporary file is left.
}

TEST_F(TextFileTest, TheLimitIsExactAndNamed) {
  for (const size_t size : {size_t{0}, size_t{1}, size_t{16383}, size_t{16384}, size_t{16385}, size_t{50'000}}) {
    ASSERT_TRUE(write_text_file(path("file"), std::string(size, 'x')));
    EXPECT_TRUE(read_text_file(path("file"), size)) << size;
    if (size == 0) continue;
    const Result<std::string> refused = read_text_file(path("file"), size - 1);
    ASSERT_FALSE(refused) << size;
    EXPECT_EQ(refused.error().code, ErrorCode::kExhausted);
    EXPECT_NE(refused.error().message.find(path("file")), std::string::npos);
    EXPECT_NE(refused.error().message.find(std::to_string(size - 1)), std::string::npos);
  }
}

TEST_F(TextFileTest, AMissingFileOrFolderIsNamed) {
  const Result<std::string> text = read_text_file(path("none"), 10);
  ASSERT_FALSE(text);
  EXPECT_EQ(text.error().code, ErrorCode::kNotFound);
  EXPECT_NE(text.error().message.find(path("none")), std::string::npos);
  const Status written = write_text_file(path("none/file"), "x");
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, ErrorCode::kNotFound);
  EXPECT_NE(written.error().message.find(path("none/file")), std::string::npos);
}

TEST_F(TextFileTest, ADirectoryIsRefusedForReadingAndWriting) {
  const Result<std::string> text = read_text_file(folder_.string(), 10);
  ASSERT_FALSE(text);
  EXPECT_EQ(text.error().code, ErrorCode::kInvalidArgument);
  const Status written = write_text_file(folder_.string(), "x");
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(files_in_folder(), 0u);
}

#if !defined(_WIN32)
TEST_F(TextFileTest, AnEndlessDeviceStopsAtTheLimit) {
  const Result<std::string> text = read_text_file("/dev/zero", 1 << 20);
  ASSERT_FALSE(text);
  EXPECT_EQ(text.error().code, ErrorCode::kExhausted);
}

TEST_F(TextFileTest, APipeIsReadToItsEnd) {
  ASSERT_EQ(::mkfifo(path("pipe").c_str(), 0600), 0);
  std::thread writer([&] { std::ofstream(path("pipe")) << std::string(70'000, 'p'); });
  const Result<std::string> text = read_text_file(path("pipe"), 100'000);
  writer.join();
  ASSERT_TRUE(text);
  EXPECT_EQ(*text, std::string(70'000, 'p'));
}

TEST_F(TextFileTest, SecretsAreForTheOwnerAndOtherFilesKeepTheirPermissions) {
  ASSERT_TRUE(write_text_file(path("secret"), "s", FileAccess::kOwnerOnly));
  EXPECT_EQ(fs::status(path("secret")).permissions(), fs::perms::owner_read | fs::perms::owner_write);
  std::ofstream(path("script")) << "old";
  fs::permissions(path("script"), fs::perms::owner_all | fs::perms::group_exec);
  ASSERT_TRUE(write_text_file(path("script"), "new"));
  EXPECT_EQ(fs::status(path("script")).permissions(), fs::perms::owner_all | fs::perms::group_exec);
  // A file that others could read becomes a secret when it is written as one.
  std::ofstream(path("open")) << "old";
  ASSERT_TRUE(write_text_file(path("open"), "s", FileAccess::kOwnerOnly));
  EXPECT_EQ(fs::status(path("open")).permissions(), fs::perms::owner_read | fs::perms::owner_write);
}

TEST_F(TextFileTest, AWriteThatFailsHalfWayKeepsTheOldTextAndLeavesNothingBehind) {
  ASSERT_TRUE(write_text_file(path("file"), "old"));
  // A limit on file sizes stands in for a full disk.
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  rlimit tight = before;
  tight.rlim_cur = 10'000;
  auto* old_handler = ::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &tight), 0);
  const Status status = write_text_file(path("file"), std::string(50'000, 'n'));
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  ::signal(SIGXFSZ, old_handler);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, ErrorCode::kIo);
  EXPECT_EQ(*read_text_file(path("file"), 10), "old");
  EXPECT_EQ(files_in_folder(), 1u);
}
#endif

}  // namespace
}  // namespace infer::os
