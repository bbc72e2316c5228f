// StableLM: layer norms, part of each head rotates, SwiGLU. The 12B model (StableLM 2) has no second norm: its
// feed-forward works beside attention, on the same input; and it normalizes each head of queries and keys.
#include "model/architecture.h"

namespace infer::model {

Status read_stablelm(const MetadataReader& metadata, ModelConfig& config) {
  INFER_TRY(read_dimensions(metadata, NormKind::kLayer, config));
  const auto has = [&](std::string_view tensor) { return metadata.file().find_tensor(tensor) != nullptr; };
  config.shared_norm = config.parallel_residual = !has("blk.0.ffn_norm.weight");
  if (has("blk.0.attn_q_norm.weight")) config.head_norm = HeadNorm::kSeparate;
  return read_rope(metadata, RopePairing::kHalves, config);
}

}  // namespace infer::model
