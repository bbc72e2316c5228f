// A file of lines that is renamed away when it is full: "x.jsonl" is the current one, "x.jsonl.1" the one before, and
// so on up to the number that is kept. Whole lines only, also after a crash. Thread safety: one thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "os/append_file.h"

namespace infer::telemetry {

class LineLog {
 public:
  // Goes on with a file that is there. files >= 1: kept, the current one included.
  static Result<LineLog> open(std::string path, uint64_t bytes_max, int files);

  // `line` without a line feed. After an error the next call opens the file anew.
  Status append(std::string_view line);

 private:
  LineLog(std::string path, uint64_t bytes_max, int files)
      : path_(std::move(path)), bytes_max_(bytes_max), files_(files) {}
  Status reopen();
  Status rotate();
  std::string numbered(int number) const;

  std::string path_;
  uint64_t bytes_max_;
  int files_;
  uint64_t bytes_ = 0;
  std::optional<os::AppendFile> file_;
};

}  // namespace infer::telemetry
