// Qwen 2 and 3. As Llama with rotated halves; Qwen 2 has biases on queries, keys and values, Qwen 3 normalizes queries
// and keys instead, and has mixtures of experts.
#include "model/architecture.h"

namespace infer::model {

Status read_qwen2(const MetadataReader& metadata, ModelConfig& config) {
  INFER_TRY(read_dimensions(metadata, NormKind::kRms, config));
  return read_rope(metadata, RopePairing::kHalves, config);
}

Status read_qwen3(const MetadataReader& metadata, ModelConfig& config) {
  config.head_norm = HeadNorm::kShared;
  return read_qwen2(metadata, config);
}

Status read_qwen3moe(const MetadataReader& metadata, ModelConfig& config) {
  INFER_TRY(read_qwen3(metadata, config));
  return read_experts(metadata, config);
}

}  // namespace infer::model
