#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace infer {

void check_failed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "inferos: internal error: check failed: %s (%s:%d)\n", condition, file, line);
  std::abort();
}

}  // namespace infer
