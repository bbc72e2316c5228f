#if defined(_WIN32)

#define _CRT_RAND_S
#include <stdlib.h>

#include "os/entropy.h"

namespace infer::os {

Result<std::array<uint64_t, 4>> random_words() {
  std::array<uint64_t, 4> words{};
  for (uint64_t& word : words) {
    for (int half = 0; half < 2; ++half) {
      unsigned int value = 0;
      if (::rand_s(&value) != 0) return Error{ErrorCode::kIo, "the system gives no random numbers (rand_s)"};
      word = word << 32 | value;
    }
  }
  return words;
}

}  // namespace infer::os

#endif
