// A new empty folder for one test, which is removed with all that it holds when this ends.
// Its name is drawn anew each time: tests of one program run at once, each in a process of its own, and so do several
// builds' tests; a name that says only what is tested would be one file for all of them.
// Thread safety: path() from any thread.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <string_view>

#include "base/format.h"
#include "os/entropy.h"

namespace infer::testing {

class TestFolder {
 public:
  TestFolder()
      : path_(std::filesystem::path(::testing::TempDir()) /
              format("inferos-test-{:016x}", os::random_words().value()[0])) {
    std::filesystem::create_directories(path_);
  }
  ~TestFolder() {
    std::error_code ignored;  // A test that took its own rights away leaves the folder to the system's cleaning.
    std::filesystem::remove_all(path_, ignored);
  }
  TestFolder(const TestFolder&) = delete;
  TestFolder& operator=(const TestFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::string file(std::string_view name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

}  // namespace infer::testing
