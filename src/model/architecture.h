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

// Above any known model, and low enough that sizes of buffers cannot wrap.
inline constexpr int kContextMax = 1 << 24;

struct Architecture {
  std::string_view name;
  Status (*read)(const MetadataReader& metadata, ModelConfig& config);
};

std::span<const Architecture> architectures();

// What nearly every decoder has: layers, widths, heads, head dimension, context, epsilon of the norms; scores scaled by
// 1/sqrt(head_dim).
Status read_dimensions(const MetadataReader& metadata, NormKind norm, ModelConfig& config);
// Rotated dimensions, base and scaling, as the first rope; the pairing is the architecture's.
Status read_rope(const MetadataReader& metadata, RopePairing pairing, ModelConfig& config);

// A mixture of experts where the file has one; files of architectures that do not ask for it are refused.
Status read_experts(const MetadataReader& metadata, ModelConfig& config);
// attention.sliding_window (`fallback` tokens without the key; 0: none) for all layers but each `period`-th.
Status read_windows(const MetadataReader& metadata, int fallback, int period, ModelConfig& config);

Status read_gemma2(const MetadataReader& metadata, ModelConfig& config);
Status read_gemma3(const MetadataReader& metadata, ModelConfig& config);
Status read_gpt2(const MetadataReader& metadata, ModelConfig& config);
Status read_gptneox(const MetadataReader& metadata, ModelConfig& config);
Status read_gpt_oss(const MetadataReader& metadata, ModelConfig& config);
Status read_llama(const MetadataReader& metadata, ModelConfig& config);
Status read_olmo2(const MetadataReader& metadata, ModelConfig& config);
Status read_olmoe(const MetadataReader& metadata, ModelConfig& config);
Status read_phi3(const MetadataReader& metadata, ModelConfig& config);
Status read_qwen2(const MetadataReader& metadata, ModelConfig& config);
Status read_qwen3(const MetadataReader& metadata, ModelConfig& config);
Status read_qwen3moe(const MetadataReader& metadata, ModelConfig& config);
Status read_stablelm(const MetadataReader& metadata, ModelConfig& config);
Status read_starcoder2(const MetadataReader& metadata, ModelConfig& config);

}  // namespace infer::model
