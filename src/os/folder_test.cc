#include "os/folder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "testing/test_folder.h"

namespace infer::os {
namespace {

namespace fs = std::filesystem;

class FolderTest : public ::testing::Test {
 protected:
  const testing::TestFolder own_;
  const fs::path root_ = own_.path() / "not made yet";
};

TEST_F(FolderTest, IsMadeWithThoseAboveItForThisUserAlone) {
  const std::string path = (root_ / "a" / "b").string();
  ASSERT_TRUE(make_private_folder(path).has_value());
  EXPECT_TRUE(fs::is_directory(path));
  EXPECT_EQ(fs::status(path).permissions(), fs::perms::owner_all);
  EXPECT_TRUE(make_private_folder(path).has_value()) << "it may be there already";
  std::ofstream(root_ / "file") << "x";
  const Status status = make_private_folder((root_ / "file" / "below").string());
  ASSERT_FALSE(status.has_value());
  EXPECT_NE(status.error().message.find("below"), std::string::npos);
}

TEST_F(FolderTest, ListsPlainFilesWithSizeAndAge) {
  fs::create_directories(root_ / "sub");
  std::ofstream(root_ / "new") << "12345";
  std::ofstream(root_ / "old") << "1";
  std::ofstream(root_ / "from tomorrow") << "";
  fs::last_write_time(root_ / "old", fs::file_time_type::clock::now() - std::chrono::hours(2));
  fs::last_write_time(root_ / "from tomorrow", fs::file_time_type::clock::now() + std::chrono::hours(24));
  auto entries = list_folder(root_.string()).value();
  std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  ASSERT_EQ(entries.size(), 3u);
  EXPECT_EQ(entries[0].age, Duration());
  EXPECT_EQ(entries[1].name, "new");
  EXPECT_EQ(entries[1].bytes, 5u);
  EXPECT_LT(entries[1].age, Duration::from_seconds(3600));
  EXPECT_GE(entries[2].age, Duration::from_seconds(7200));

  ASSERT_TRUE(mark_as_used(path_in(root_.string(), "old")));
  const auto marked = list_folder(root_.string()).value();
  for (const FolderEntry& entry : marked) {
    EXPECT_LT(entry.age, Duration::from_seconds(3600)) << entry.name;
  }
}

TEST_F(FolderTest, WhatIsNotThereIsAnErrorOrFalse) {
  EXPECT_EQ(list_folder((root_ / "none").string()).error().code, ErrorCode::kNotFound);
  EXPECT_FALSE(mark_as_used((root_ / "none").string()));
  EXPECT_TRUE(remove_file((root_ / "none").string())) << "gone is gone";
}

TEST(UserCacheFolder, IsWhatTheEnvironmentNames) {
#if defined(__linux__)
  const char* cache = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  const std::string old_cache = cache ? cache : "", old_home = home ? home : "";
  ::setenv("XDG_CACHE_HOME", "/somewhere/cache", 1);
  EXPECT_EQ(user_cache_folder(), "/somewhere/cache");
  ::setenv("HOME", "/a/person", 1);
  ::setenv("XDG_CACHE_HOME", "relative", 1);
  EXPECT_EQ(user_cache_folder(), "/a/person/.cache");
  ::unsetenv("XDG_CACHE_HOME");
  EXPECT_EQ(user_cache_folder(), "/a/person/.cache");
  ::unsetenv("HOME");
  EXPECT_EQ(user_cache_folder(), "");
  if (home) ::setenv("HOME", old_home.c_str(), 1);
  if (cache) ::setenv("XDG_CACHE_HOME", old_cache.c_str(), 1);
#else
  GTEST_SKIP() << "other systems have one folder";
#endif
}

TEST_F(FolderTest, AFileIsRenamedOverAnother) {
  fs::create_directories(root_);
  std::ofstream(root_ / "a") << "12345";
  std::ofstream(root_ / "b") << "1";
  ASSERT_TRUE(rename_file((root_ / "a").string(), (root_ / "b").string()).has_value());
  EXPECT_FALSE(fs::exists(root_ / "a"));
  EXPECT_EQ(*file_bytes((root_ / "b").string()), 5u);
  EXPECT_EQ(rename_file((root_ / "a").string(), (root_ / "b").string()).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(file_bytes((root_ / "a").string()).error().code, ErrorCode::kNotFound);
}

}  // namespace
}  // namespace infer::os
