// GPT-NeoX, Pythia, rinna, open-calm, weblab: layer norms with biases, part of each head rotates, a GELU feed-forward
// that works beside attention or, in some models, after it.
#include "model/architecture.h"

namespace infer::model {

Status read_gptneox(const MetadataReader& metadata, ModelConfig& config) {
  INFER_TRY(read_dimensions(metadata, NormKind::kLayer, config));
  config.feed_forward = FeedForward::kGelu;
  INFER_ASSIGN(config.parallel_residual, metadata.file().get_bool_or(metadata.key("use_parallel_residual"), true));
  return read_rope(metadata, RopePairing::kHalves, config);
}

}  // namespace infer::model
