#if !defined(_WIN32)

#include <sys/random.h>
#include <unistd.h>

#include "os/entropy.h"

namespace infer::os {

Result<std::array<uint64_t, 4>> random_words() {
  std::array<uint64_t, 4> words{};
  if (::getentropy(words.data(), sizeof words) == 0) return words;
  return Error{ErrorCode::kIo, "the system gives no random numbers (getentropy)"};
}

}  // namespace infer::os

#endif
