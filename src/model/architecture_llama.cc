// The llama family: Llama 1 to 3, Mistral, TinyLlama, SmolLM and everything else that is exported under this name.
// RMS norm before attention and before a SwiGLU feed-forward, grouped-query attention, rotary positions.
#include "model/architecture.h"

namespace infer::model {

Status read_llama(const MetadataReader& metadata, ModelConfig& config) {
  INFER_TRY(read_dimensions(metadata, NormKind::kRms, config));
  return read_rope(metadata, RopePairing::kAdjacent, config);
}

}  // namespace infer::model
