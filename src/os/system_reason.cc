#include "os/system_reason.h"

#include <cerrno>
#include <system_error>

#if defined(_WIN32)
#include "os/windows_api.h"
#endif

namespace infer::os {

std::string system_reason(int code) { return std::system_category().message(code); }

std::string last_system_reason() {
#if defined(_WIN32)
  return system_reason(static_cast<int>(GetLastError()));
#else
  return system_reason(errno);
#endif
}

}  // namespace infer::os
