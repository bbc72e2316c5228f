#include "telemetry/line_log.h"

#include <utility>

#include "base/format.h"
#include "os/folder.h"

namespace infer::telemetry {

Result<LineLog> LineLog::open(std::string path, uint64_t bytes_max, int files) {
  LineLog log(std::move(path), bytes_max, files);
  INFER_TRY(log.reopen());
  return log;
}

std::string LineLog::numbered(int number) const { return number == 0 ? path_ : format("{}.{}", path_, number); }

Status LineLog::reopen() {
  INFER_ASSIGN(file_, os::AppendFile::open(path_));
  INFER_ASSIGN(bytes_, os::file_bytes(path_));
  return {};
}

Status LineLog::rotate() {
  file_.reset();
  (void)os::remove_file(numbered(files_ - 1));  // With one file: the current one itself.
  for (int number = files_ - 1; number > 0; --number) {
    const Status moved = os::rename_file(numbered(number - 1), numbered(number));
    if (!moved && moved.error().code != ErrorCode::kNotFound) return moved;
  }
  return reopen();
}

Status LineLog::append(std::string_view line) {
  if (!file_) INFER_TRY(reopen());
  if (bytes_ > 0 && bytes_ + line.size() + 1 > bytes_max_) INFER_TRY(rotate());
  Status done = file_->append_line(line);
  if (done) {
    bytes_ += line.size() + 1;
  } else {
    file_.reset();
  }
  return done;
}

}  // namespace infer::telemetry
