// The model that is built into the program, so that it works without any file. A GGUF file in read-only memory, and
// a text beside it.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

namespace infer::app {

inline constexpr const char* kEmbeddedModelName = "tales (embedded)";

std::span<const std::byte> embedded_model_bytes();

// Prose that it never saw, to evaluate any model on: tales in the public domain.
inline constexpr const char* kEmbeddedTextName = "tales-heldout (embedded)";
std::string_view embedded_text();

}  // namespace infer::app
