#include "app/embedded_model.h"

extern "C" {
// Of embedded_model.S.
extern const std::byte inferos_embedded_model_begin[];
extern const std::byte inferos_embedded_model_end[];
}

namespace infer::app {

std::span<const std::byte> embedded_model_bytes() { return {inferos_embedded_model_begin, inferos_embedded_model_end}; }

}  // namespace infer::app
