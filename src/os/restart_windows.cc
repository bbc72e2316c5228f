#if defined(_WIN32)

#include <cstdlib>

#include "os/restart.h"

namespace infer::os {

Error restart_program(const std::vector<std::string>&, const std::string&, const std::string&) {
  return Error{ErrorCode::kUnsupported, "this system cannot begin a program anew in its process: start it again"};
}

void end_process_now(int exit_code) { std::_Exit(exit_code); }

}  // namespace infer::os

#endif
