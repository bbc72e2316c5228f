// Phi 3 and 4: as Llama with rotated halves. Long contexts have a factor for each frequency, one set up to the original
// context and one beyond it. The sliding window that some files name is not applied: it is as long as the context that
// those models were trained for, and other programs leave it out as well.
#include "model/architecture.h"

namespace infer::model {

Status read_phi3(const MetadataReader& metadata, ModelConfig& config) {
  INFER_TRY(read_dimensions(metadata, NormKind::kRms, config));
  INFER_TRY(read_rope(metadata, RopePairing::kHalves, config));
  INFER_ASSIGN(config.ropes[0].factors_context,
               metadata.dimension_or("rope.scaling.original_context_length", config.context_trained, kContextMax));
  return {};
}

}  // namespace infer::model
