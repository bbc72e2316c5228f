// GPT-2, DialoGPT and rinna's GPT-2 models: layer norms with biases, learned positions, a GELU feed-forward.
#include "model/architecture.h"

namespace infer::model {

Status read_gpt2(const MetadataReader& metadata, ModelConfig& config) {
  INFER_TRY(read_dimensions(metadata, NormKind::kLayer, config));
  config.feed_forward = FeedForward::kGelu;
  config.learned_positions = true;
  config.ropes.push_back({});  // Nothing rotates.
  return {};
}

}  // namespace infer::model
