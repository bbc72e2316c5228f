// The operating system's own words for why a call failed: the last part of an Error's message.
// Thread safety: reads the calling thread's last error; call it before anything else can change that.
#pragma once

#include <string>

namespace infer::os {

// "No such file or directory" for an errno (POSIX) or GetLastError (Windows) value.
std::string system_reason(int code);
// Of the last failed call of this thread.
std::string last_system_reason();

}  // namespace infer::os
