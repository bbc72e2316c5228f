#include "os/open_files.h"

#if !defined(_WIN32)
#include <sys/resource.h>
#endif

#include <algorithm>

namespace infer::os {

#if defined(_WIN32)

// Sockets and handles are bounded by memory alone.
uint64_t raise_open_file_limit(uint64_t wanted) { return wanted; }

#else

uint64_t raise_open_file_limit(uint64_t wanted) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 256;  // What POSIX systems give at the very least in practice.
  if (limit.rlim_cur >= wanted) return limit.rlim_cur;
  const rlimit raised{std::min<rlim_t>(wanted, limit.rlim_max), limit.rlim_max};
  if (::setrlimit(RLIMIT_NOFILE, &raised) != 0) return limit.rlim_cur;
  return raised.rlim_cur;
}

#endif

}  // namespace infer::os
