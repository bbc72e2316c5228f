// OLMo 2: what attention and feed-forward add is normalized instead of what they read, and all heads of the queries,
// and of the keys, together. OLMoE normalizes what they read, and weighs the chosen experts among all.
#include "model/architecture.h"

namespace infer::model {

Status read_olmo2(const MetadataReader& metadata, ModelConfig& config) {
  INFER_TRY(read_dimensions(metadata, NormKind::kRms, config));
  config.pre_norms = false;
  config.post_norms = true;
  config.head_norm = HeadNorm::kWhole;
  return read_rope(metadata, RopePairing::kHalves, config);
}

Status read_olmoe(const MetadataReader& metadata, ModelConfig& config) {
  INFER_TRY(read_dimensions(metadata, NormKind::kRms, config));
  INFER_TRY(read_experts(metadata, config));
  config.head_norm = HeadNorm::kWhole;
  config.experts.weighting = ExpertWeighting::kOfAll;
  return read_rope(metadata, RopePairing::kHalves, config);
}

}  // namespace infer::model
