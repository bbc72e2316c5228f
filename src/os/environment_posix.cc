#if !defined(_WIN32)

#include <cstdlib>

#include "os/environment.h"

namespace infer::os {

std::optional<std::string> environment_variable(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  if (!value) return std::nullopt;
  return std::string(value);
}

}  // namespace infer::os

#endif
