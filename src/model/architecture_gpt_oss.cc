// gpt-oss: mixtures of experts with a clipped SwiGLU, biases everywhere, a sink beside the scores of each head, and a
// window in every other layer.
#include "model/architecture.h"

namespace infer::model {

Status read_gpt_oss(const MetadataReader& metadata, ModelConfig& config) {
  INFER_TRY(read_dimensions(metadata, NormKind::kRms, config));
  INFER_TRY(read_experts(metadata, config));
  config.ffn_norm_name = "post_attention_norm";
  config.feed_forward = FeedForward::kClippedSwiglu;
  config.attention_sinks = true;
  INFER_TRY(read_windows(metadata, 128, 2, config));
  return read_rope(metadata, RopePairing::kHalves, config);
}

}  // namespace infer::model
