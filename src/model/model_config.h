// What a model is made of: dimensions and switches, read from a GGUF file's metadata and checked once, so that the rest
// of the program can rely on them.
//
// Invariants after read_model_config: every dimension is positive and within kModelBounds; heads is a multiple of
// kv_heads; head_dim is a multiple of 16 and at most kernels::kHeadDimMax; there is at least one rope, all of them
// rotate the same even number of dims, at most head_dim; there is one LayerDescription for each layer and its rope is
// one of ropes; floats are finite and positive where they must be. An architecture is a row in architecture.cc: its
// GGUF name and a small function that fills a ModelConfig. The forward pass asks only the config, never the name.
// Thread safety: a plain value.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "gguf/file.h"

namespace infer::model {

// Which coordinates of a head rotate together.
enum class RopePairing {
  kAdjacent,  // (2i, 2i+1): GGUF files of the llama family, whose weights are permuted for it.
  kHalves,    // (i, i + dims/2)
};

// YaRN: pairs that turn often within the original context keep their frequency, those that turn less than once are
// scaled to the longer context, with a ramp in between.
struct YarnConfig {
  int original_context = 0;  // 0: not used, all frequencies are scaled alike.
  float turns_fast = 32.0f;  // Pairs that turn more often keep their frequency.
  float turns_slow = 1.0f;   // Pairs that turn less are scaled whole.
};

struct RopeConfig {
  RopePairing pairing = RopePairing::kAdjacent;
  int dims = 0;  // The first `dims` coordinates of a head rotate; 0: none, positions enter otherwise.
  float freq_base = 10000.0f;
  float position_scale = 1.0f;  // Linear scaling: angles are those of position * position_scale.
  float magnitude = 1.0f;       // Rotated coordinates are multiplied by it.
  YarnConfig yarn{};
  // Frequencies are divided by rope_factors_long where the context is longer than this, else by rope_factors_short.
  int factors_context = 0;
};

enum class NormKind {
  kRms,
  kLayer,  // The mean is removed, and a bias may be added.
};

// Norms of each query and key before they rotate.
enum class HeadNorm {
  kNone,
  kShared,    // One weight of head_dim for all heads.
  kSeparate,  // Each head has its own.
  kWhole,     // All heads together are one vector.
};

enum class FeedForward {
  kSiluGated,
  kGeluGated,
  kGelu,  // Not gated.
  kClippedSwiglu,
};

inline bool is_gated(FeedForward kind) { return kind != FeedForward::kGelu; }

// What the outputs of the chosen experts are multiplied by: a softmax of the router's logits.
enum class ExpertWeighting {
  kOfChosen,  // Over the chosen experts: they add up to 1.
  kOfAll,
};

// A feed-forward of many experts, of which a router chooses a few for each token.
struct ExpertConfig {
  int count = 0;  // 0: one dense feed-forward.
  int used = 0;   // From 1 to count.
  ExpertWeighting weighting = ExpertWeighting::kOfChosen;
  float scale = 1.0f;  // Of the weights.
};

// Where layers differ.
struct LayerDescription {
  int window = 0;  // A token sees this many, itself the last; 0: all before it.
  int rope = 0;    // Which of ModelConfig::ropes.
};

struct ModelConfig {
  std::string architecture;
  std::string name;  // general.name, "" when absent.
  int layers = 0;
  int width = 0;  // Of the residual stream.
  int heads = 0;
  int kv_heads = 0;
  int head_dim = 0;
  int ffn_width = 0;  // Of one expert where there are some.
  int vocabulary = 0;
  int context_trained = 0;

  NormKind norm = NormKind::kRms;
  float norm_epsilon = 0;
  bool pre_norms = true;    // Inputs of attention and feed-forward are normalized,
  bool post_norms = false;  // what they add to the residual is.
  std::string_view ffn_norm_name = "ffn_norm";
  // Attention and feed-forward both start from the layer's input, and both are added to it.
  bool parallel_residual = false;
  bool shared_norm = false;  // The feed-forward reads what attention reads; there is no ffn_norm.
  HeadNorm head_norm = HeadNorm::kNone;
  FeedForward feed_forward = FeedForward::kSiluGated;
  ExpertConfig experts;

  float embedding_scale = 1.0f;
  bool learned_positions = false;  // Added to the embeddings, for context_trained tokens and no more.
  float attention_scale = 0;       // Scores are multiplied by it,
  float attention_cap = 0;         // then they are cap * tanh(score / cap); 0: as they are.
  bool attention_sinks = false;    // Each head has a score that takes its share of the attention and gives nothing.
  float logit_scale = 1.0f;
  float logit_cap = 0;  // Logits are cap * tanh(logit / cap); 0: as they are.

  std::vector<RopeConfig> ropes;
  std::vector<LayerDescription> layer;

  int query_width() const { return heads * head_dim; }
  int kv_width() const { return kv_heads * head_dim; }
  // Of `depth` tokens before one, those that it sees, of all layers together.
  int64_t visible_tokens(int depth) const {
    int64_t sum = 0;
    for (const LayerDescription& each : layer) sum += each.window > 0 && each.window < depth ? each.window : depth;
    return sum;
  }
  int rope_pairs() const { return ropes.front().dims / 2; }
};

// kUnsupported names an unknown architecture and lists the known ones; kCorrupt and kUnsupported name the key or
// tensor.
Result<ModelConfig> read_model_config(const gguf::File& file);

// Names of the architectures that can be loaded.
std::span<const std::string_view> known_architectures();

}  // namespace infer::model
