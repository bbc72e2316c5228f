// Names of GGUF's type ids, also of those that this build cannot read, so that a refusal says what the file holds; and
// the sizes of the metadata types.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "gguf/file.h"

namespace infer::gguf {

// "q2_K" for 10, "mxfp4" for 39; null for an id that the format does not define. Ids of types that the format has
// removed have names too.
const char* tensor_type_name(uint32_t gguf_type_id);

// "f32, f16, q4_0, ...": every type that kernels/block_formats.h describes.
std::string supported_tensor_types();

constexpr bool is_value_type(uint32_t id) { return id <= static_cast<uint32_t>(ValueType::kFloat64); }

// Bytes of one value; 0 for strings and arrays, whose length the file gives.
constexpr size_t value_type_bytes(ValueType type) {
  switch (type) {
    case ValueType::kUint8:
    case ValueType::kInt8:
    case ValueType::kBool: return 1;
    case ValueType::kUint16:
    case ValueType::kInt16: return 2;
    case ValueType::kUint32:
    case ValueType::kInt32:
    case ValueType::kFloat32: return 4;
    case ValueType::kUint64:
    case ValueType::kInt64:
    case ValueType::kFloat64: return 8;
    case ValueType::kString:
    case ValueType::kArray: return 0;
  }
  return 0;
}

}  // namespace infer::gguf
