// Gemma 2 and 3: embeddings scaled by the root of their width, norms before and after attention and feed-forward, a
// GELU gate, and layers that see only a window among layers that see everything. Gemma 2 caps scores and logits; Gemma
// 3 normalizes queries and keys, and layers with a window rotate by a base of their own, not stretched.
#include <cmath>

#include "model/architecture.h"

namespace infer::model {

namespace {

Status read_gemma(const MetadataReader& metadata, ModelConfig& config) {
  INFER_TRY(read_dimensions(metadata, NormKind::kRms, config));
  config.post_norms = true;
  config.feed_forward = FeedForward::kGeluGated;
  config.embedding_scale = std::sqrt(static_cast<float>(config.width));
  INFER_ASSIGN(config.attention_cap, metadata.not_negative_or("attn_logit_softcapping", 0.0f));
  INFER_ASSIGN(config.logit_cap, metadata.not_negative_or("final_logit_softcapping", 0.0f));
  return read_rope(metadata, RopePairing::kHalves, config);
}

// The 27B models alone scale by the width of the model's share of a head, which is not the head's dimension. No key
// tells it: the number of layers does.
void scale_by_share_of_width(ModelConfig& config) {
  config.attention_scale = 1.0f / std::sqrt(static_cast<float>(config.width) / static_cast<float>(config.heads));
}

}  // namespace

Status read_gemma2(const MetadataReader& metadata, ModelConfig& config) {
  INFER_TRY(read_gemma(metadata, config));
  if (config.layers == 46) scale_by_share_of_width(config);
  return read_windows(metadata, 4096, 2, config);
}

Status read_gemma3(const MetadataReader& metadata, ModelConfig& config) {
  config.head_norm = HeadNorm::kShared;
  INFER_TRY(read_gemma(metadata, config));
  if (config.layers == 62) scale_by_share_of_width(config);
  INFER_TRY(read_windows(metadata, 0, 6, config));
  RopeConfig local{.pairing = RopePairing::kHalves, .dims = config.ropes[0].dims};
  INFER_ASSIGN(local.freq_base, metadata.positive_or("rope.freq_base_swa", 10000.0f));
  config.ropes.push_back(local);
  for (LayerDescription& layer : config.layer) layer.rope = layer.window > 0 ? 1 : 0;
  return {};
}

}  // namespace infer::model
