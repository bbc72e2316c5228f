#if defined(_WIN32)

#include "os/windows_api.h"

#include "os/environment.h"
#include "os/windows_text.h"

namespace infer::os {

std::optional<std::string> environment_variable(const std::string& name) {
  const std::wstring wide = to_utf16(name);
  std::wstring value(256, L'\0');
  while (true) {
    ::SetLastError(ERROR_SUCCESS);
    const DWORD size = ::GetEnvironmentVariableW(wide.c_str(), value.data(), static_cast<DWORD>(value.size()));
    if (size == 0 && ::GetLastError() != ERROR_SUCCESS) return std::nullopt;
    const bool fits = size < value.size();  // Then without the final NUL; else the size that it needs.
    value.resize(size);
    if (fits) return to_utf8(value);
  }
}

}  // namespace infer::os

#endif
