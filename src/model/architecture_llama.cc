// The llama family: Llama 1 to 3, Mistral, TinyLlama, SmolLM and everything else that is exported under this name.
// RMS norm before attention and before a SwiGLU feed-forward, grouped-query attention, rotary positions; Mixtral's
// feed-forward is a mixture of experts.
#include "model/architecture.h"

namespace infer::model {

Status read_llama(const MetadataReader& metadata, ModelConfig& config) {
  INFER_TRY(read_dimensions(metadata, NormKind::kRms, config));
  INFER_TRY(read_experts(metadata, config));
  return read_rope(metadata, RopePairing::kAdjacent, config);
}

}  // namespace infer::model
