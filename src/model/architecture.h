// The architectures that can be loaded: a GGUF name, and a function that fills a ModelConfig from the file's metadata.
// One file per family (architecture_llama.cc, ...); architecture.cc holds the list and the keys that all share.
// Thread safety: constant tables and pure functions.
#pragma once

#include <span>
#include <string_view>

#include "base/result.h"
#include "model/metadata_reader.h"
#include "model/model_config.h"

namespace infer::model {

struct Architecture {
  std::string_view name;
  Status (*read)(const MetadataReader& metadata, ModelConfig& config);
};

std::span<const Architecture> architectures();

// What nearly every decoder has: layers, widths, heads, head dimension, context; scores scaled by 1/sqrt(head_dim).
Status read_dimensions(const MetadataReader& metadata, ModelConfig& config);
// Rotated dimensions, base and scaling; the pairing is the architecture's.
Status read_rope(const MetadataReader& metadata, RopePairing pairing, ModelConfig& config);

Status read_llama(const MetadataReader& metadata, ModelConfig& config);

}  // namespace infer::model
