// The model that is built into the program, so that it works without any file. A GGUF file in read-only memory.
#pragma once

#include <cstddef>
#include <span>

namespace infer::app {

inline constexpr const char* kEmbeddedModelName = "tales (embedded)";

std::span<const std::byte> embedded_model_bytes();

}  // namespace infer::app
