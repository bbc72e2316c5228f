// The header of one GGUF file (one part of a split model), read and checked: everything before the tensor data.
// See docs/formats/gguf_subset.md for the layout and limits.h for the limits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "gguf/file.h"

namespace infer::gguf {

struct Header {
  uint32_t version = 0;
  uint32_t alignment = 0;
  uint64_t data_begin = 0;              // Where tensor data starts, aligned; beyond the end when there is no tensor.
  std::vector<MetadataEntry> metadata;  // In file order; keys are unique.
  std::vector<Tensor> tensors;          // In file order; data placed and inside `bytes`; names may still repeat.
};

// Views in the result point into `bytes`. `part` is written into each tensor. Errors name the entry or tensor, not the
// file.
Result<Header> read_header(std::span<const std::byte> bytes, uint32_t part);

}  // namespace infer::gguf
