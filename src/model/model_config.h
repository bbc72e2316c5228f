// What a model is made of: dimensions and switches, read from a GGUF file's metadata and checked once, so that the rest
// of the program can rely on them.
//
// Invariants after read_model_config: every dimension is positive and within kModelBounds; heads is a multiple of
// kv_heads; head_dim is a multiple of 16 and at most kernels::kHeadDimMax; rope.dims is even and at most head_dim;
// floats are finite and positive where they must be. An architecture is a row in architectures.cc: its GGUF name and a
// small function that fills a ModelConfig. The forward pass asks only the config, never the name. Thread safety: a
// plain value.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "gguf/file.h"

namespace infer::model {

// Which coordinates of a head rotate together.
enum class RopePairing {
  kAdjacent,  // (2i, 2i+1): GGUF files of the llama family, whose weights are permuted for it.
  kHalves,    // (i, i + dims/2)
};

struct RopeConfig {
  RopePairing pairing = RopePairing::kAdjacent;
  int dims = 0;  // The first `dims` coordinates of a head rotate.
  float freq_base = 10000.0f;
  float position_scale = 1.0f;  // Linear scaling: angles are those of position * position_scale.
};

struct ModelConfig {
  std::string architecture;
  std::string name;  // general.name, "" when absent.
  int layers = 0;
  int width = 0;  // Of the residual stream.
  int heads = 0;
  int kv_heads = 0;
  int head_dim = 0;
  int ffn_width = 0;
  int vocabulary = 0;
  int context_trained = 0;
  float norm_epsilon = 0;
  float attention_scale = 0;  // Scores are multiplied by it.
  RopeConfig rope;

  int query_width() const { return heads * head_dim; }
  int kv_width() const { return kv_heads * head_dim; }
};

// kUnsupported names an unknown architecture and lists the known ones; kCorrupt and kUnsupported name the key or
// tensor.
Result<ModelConfig> read_model_config(const gguf::File& file);

// Names of the architectures that can be loaded.
std::span<const std::string_view> known_architectures();

}  // namespace infer::model
