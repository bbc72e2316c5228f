// Rotary positions as a file's metadata describes them: dimensions, base, and how far they are stretched.
#include <cmath>

#include "base/format.h"
#include "gguf/printable.h"
#include "model/architecture.h"

namespace infer::model {

namespace {

// Longer contexts flatten attention; YaRN's answer is to lengthen queries and keys by this much.
float yarn_magnitude(float factor) { return factor > 1.0f ? 1.0f + 0.1f * std::log(factor) : 1.0f; }

Status read_yarn(const MetadataReader& metadata, int context_trained, float factor, RopeConfig& rope) {
  for (const char* name : {"rope.scaling.yarn_ext_factor", "rope.scaling.yarn_attn_factor"}) {
    INFER_ASSIGN(const float value, metadata.positive_or(name, 1.0f));
    if (value == 1.0f) continue;
    return Error{ErrorCode::kUnsupported, format("{} is {}: this build knows only 1", metadata.key(name), value)};
  }
  INFER_ASSIGN(rope.yarn.original_context,
               metadata.dimension_or("rope.scaling.original_context_length", context_trained, kContextMax));
  INFER_ASSIGN(rope.yarn.turns_fast, metadata.positive_or("rope.scaling.yarn_beta_fast", 32.0f));
  INFER_ASSIGN(rope.yarn.turns_slow, metadata.positive_or("rope.scaling.yarn_beta_slow", 1.0f));
  rope.magnitude *= yarn_magnitude(factor);
  return {};
}

Status read_scaling(const MetadataReader& metadata, int context_trained, RopeConfig& rope) {
  INFER_ASSIGN(const std::string_view scaling,
               metadata.file().get_string_or(metadata.key("rope.scaling.type"), "linear"));
  INFER_ASSIGN(rope.magnitude, metadata.positive_or("rope.scaling.attn_factor", 1.0f));
  if (scaling == "none") return {};
  if (scaling != "linear" && scaling != "yarn" && scaling != "longrope") {
    return Error{ErrorCode::kUnsupported,
                 format("{} is {}: this build knows \"none\", \"linear\", \"yarn\" and \"longrope\"",
                        metadata.key("rope.scaling.type"), gguf::quoted(scaling))};
  }
  // rope.scale_linear is what files from before rope.scaling.* have.
  INFER_ASSIGN(const float old_factor, metadata.positive_or("rope.scale_linear", 1.0f));
  INFER_ASSIGN(const float factor, metadata.positive_or("rope.scaling.factor", old_factor));
  rope.position_scale = 1.0f / factor;
  return scaling == "yarn" ? read_yarn(metadata, context_trained, factor, rope) : Status();
}

}  // namespace

Status read_rope(const MetadataReader& metadata, RopePairing pairing, ModelConfig& config) {
  RopeConfig rope;
  rope.pairing = pairing;
  INFER_ASSIGN(rope.dims, metadata.dimension_or("rope.dimension_count", config.head_dim, config.head_dim));
  if (rope.dims % 2 != 0) {
    return Error{ErrorCode::kCorrupt,
                 format("{} is {}, but coordinates rotate in pairs", metadata.key("rope.dimension_count"), rope.dims)};
  }
  INFER_ASSIGN(rope.freq_base, metadata.positive_or("rope.freq_base", 10000.0f));
  INFER_TRY(read_scaling(metadata, config.context_trained, rope));
  config.ropes.push_back(rope);
  return {};
}

}  // namespace infer::model
