#include "testing/property.h"

#include <cstdlib>

namespace infer::testing {

uint64_t property_seed(uint64_t fallback) {
  const char* text = std::getenv("INFER_SEED");
  return text != nullptr ? std::strtoull(text, nullptr, 10) : fallback;
}

}  // namespace infer::testing
