// A text file that grows by whole lines and survives a sudden end: a line is handed to the system in one piece, and a
// line that was cut off by a crash is removed when the file is opened again.
// Thread safety: one owner. Ownership: closes the file.
#pragma once

#include <fstream>
#include <string>
#include <string_view>

#include "base/result.h"

namespace infer::os {

class AppendFile {
 public:
  // Made if it is not there. kNotFound: no such folder; kInvalidArgument: a directory; kIo with the system's reason.
  static Result<AppendFile> open(const std::string& path);

  // text without its line feed, and with none inside. After a failure every further call fails as well.
  Status append_line(std::string_view text);

 private:
  AppendFile(std::string path, std::ofstream file) : path_(std::move(path)), file_(std::move(file)) {}
  std::string path_;
  std::ofstream file_;
};

}  // namespace infer::os
