// OLMo 2: what attention and feed-forward add is normalized instead of what they read, and all heads of the queries,
// and of the keys, together.
#include "model/architecture.h"

namespace infer::model {

Status read_olmo2(const MetadataReader& metadata, ModelConfig& config) {
  INFER_TRY(read_dimensions(metadata, NormKind::kRms, config));
  config.pre_norms = false;
  config.post_norms = true;
  config.head_norm = HeadNorm::kWhole;
  return read_rope(metadata, RopePairing::kHalves, config);
}

}  // namespace infer::model
