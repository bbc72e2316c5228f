#if !defined(_WIN32)

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/format.h"
#include "os/process_facts.h"
#include "os/restart.h"
#include "os/system_reason.h"

extern char** environ;

namespace infer::os {

namespace {

// Libraries open sockets that a new program would inherit, so that its port would stay taken.
void close_files_on_exec() {
  const long files = ::sysconf(_SC_OPEN_MAX);
  for (int file = STDERR_FILENO + 1; file < files; ++file) (void)::fcntl(file, F_SETFD, FD_CLOEXEC);
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> all;
  for (std::string& text : texts) all.push_back(text.data());
  all.push_back(nullptr);
  return all;
}

}  // namespace

Error restart_program(const std::vector<std::string>& arguments, const std::string& variable,
                      const std::string& value) {
  const Result<std::string> path = executable_path();
  if (!path) return path.error();
  std::vector<std::string> words = arguments, variables;
  for (char** each = environ; *each != nullptr; ++each) {
    std::string text = *each;
    if (!text.starts_with(variable + "=")) variables.push_back(std::move(text));
  }
  variables.push_back(format("{}={}", variable, value));
  close_files_on_exec();
  ::execve(path->c_str(), pointers(words).data(), pointers(variables).data());
  return Error{ErrorCode::kIo, format("{}: cannot be started again: {}", *path, system_reason(errno))};
}

}  // namespace infer::os

#endif
