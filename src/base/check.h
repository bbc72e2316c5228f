// Checks for programmer errors. They stay on in release: a wrong answer costs more than a branch. Input, however
// hostile, must never reach one; it is refused with a Result before. INFER_DCHECK is for inner loops only.
#pragma once

namespace infer {

[[noreturn]] void check_failed(const char* condition, const char* file, int line);

}  // namespace infer

#define INFER_CHECK(condition) ((condition) ? void(0) : ::infer::check_failed(#condition, __FILE__, __LINE__))

#ifdef NDEBUG
#define INFER_DCHECK(condition) void(0)
#else
#define INFER_DCHECK(condition) INFER_CHECK(condition)
#endif
