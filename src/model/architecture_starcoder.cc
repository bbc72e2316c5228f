// StarCoder 2: layer norms and biases everywhere, grouped-query attention, rotated halves, a GELU feed-forward.
#include "model/architecture.h"

namespace infer::model {

Status read_starcoder2(const MetadataReader& metadata, ModelConfig& config) {
  INFER_TRY(read_dimensions(metadata, NormKind::kLayer, config));
  config.feed_forward = FeedForward::kGelu;
  return read_rope(metadata, RopePairing::kHalves, config);
}

}  // namespace infer::model
