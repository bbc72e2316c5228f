#include "app/embedded_model.h"

extern "C" {
// Of embedded_model.S.
extern const std::byte inferos_embedded_model_begin[];
extern const std::byte inferos_embedded_model_end[];
extern const char inferos_embedded_text_begin[];
extern const char inferos_embedded_text_end[];
}

namespace infer::app {

std::span<const std::byte> embedded_model_bytes() { return {inferos_embedded_model_begin, inferos_embedded_model_end}; }

std::string_view embedded_text() {
  return {inferos_embedded_text_begin, static_cast<size_t>(inferos_embedded_text_end - inferos_embedded_text_begin)};
}

}  // namespace infer::app
