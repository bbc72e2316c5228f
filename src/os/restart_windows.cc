#if defined(_WIN32)

#include "os/restart.h"

namespace infer::os {

Error restart_program(const std::vector<std::string>&, const std::string&, const std::string&) {
  return Error{ErrorCode::kUnsupported, "this system cannot begin a program anew in its process: start it again"};
}

}  // namespace infer::os

#endif
