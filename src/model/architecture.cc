#include "model/architecture.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include "base/format.h"
#include "gguf/printable.h"
#include "kernels/kernel_table.h"

namespace infer::model {

namespace {

constexpr std::array kArchitectures{
    Architecture{"llama", read_llama},            //
    Architecture{"qwen2", read_qwen2},            //
    Architecture{"qwen3", read_qwen3},            //
    Architecture{"qwen3moe", read_qwen3moe},      //
    Architecture{"gemma2", read_gemma2},          //
    Architecture{"gemma3", read_gemma3},          //
    Architecture{"phi3", read_phi3},              //
    Architecture{"gpt2", read_gpt2},              //
    Architecture{"gptneox", read_gptneox},        //
    Architecture{"gpt-oss", read_gpt_oss},        //
    Architecture{"olmo2", read_olmo2},            //
    Architecture{"olmoe", read_olmoe},            //
    Architecture{"stablelm", read_stablelm},      //
    Architecture{"starcoder2", read_starcoder2},  //
};

// Above any known model, and low enough that sizes of matrices and buffers cannot wrap.
constexpr int kLayersMax = 1024;
constexpr int kWidthMax = 1 << 17;
constexpr int kHeadsMax = 1 << 12;
constexpr int kFfnWidthMax = 1 << 20;
constexpr int kExpertsMax = 1 << 12;
constexpr int kExpertsOfModelMax = 1 << 17;
constexpr int kVocabularyMax = 1 << 22;

Error inconsistent(std::string message) { return Error{ErrorCode::kCorrupt, std::move(message)}; }

// An architecture that never read them must not run as if there were none.
Status refuse_unread_experts(const MetadataReader& metadata, const ModelConfig& config) {
  INFER_ASSIGN(const uint32_t experts, metadata.file().get_u32_or(metadata.key("expert_count"), 0));
  if (experts == static_cast<uint32_t>(config.experts.count)) return {};
  return Error{ErrorCode::kUnsupported,
               format("a mixture of {} experts ({}), which this build cannot run for this architecture: use a dense "
                      "model",
                      experts, metadata.key("expert_count"))};
}

Status read_head_dim(const MetadataReader& metadata, ModelConfig& config) {
  const bool has_length = metadata.has("attention.key_length");
  if (!has_length && config.width % config.heads != 0) {
    return inconsistent(format("{} is {}, not a multiple of {} ({}), and there is no {}",
                               metadata.key("embedding_length"), config.width, metadata.key("attention.head_count"),
                               config.heads, metadata.key("attention.key_length")));
  }
  const int derived = has_length ? 0 : config.width / config.heads;
  constexpr int kFieldMax = 1 << 16;
  INFER_ASSIGN(config.head_dim, metadata.dimension_or("attention.key_length", derived, kFieldMax));
  INFER_ASSIGN(const int value_dim, metadata.dimension_or("attention.value_length", config.head_dim, kFieldMax));
  if (value_dim != config.head_dim) {
    return Error{ErrorCode::kUnsupported,
                 format("{} is {} and {} is {}: this build runs only models where they are equal",
                        metadata.key("attention.key_length"), config.head_dim, metadata.key("attention.value_length"),
                        value_dim)};
  }
  if (config.head_dim % 16 != 0 || config.head_dim > kernels::kHeadDimMax) {
    return Error{ErrorCode::kUnsupported, format("heads of dimension {}: this build runs multiples of 16 up to {}",
                                                 config.head_dim, kernels::kHeadDimMax)};
  }
  return {};
}

// The vocabulary is as large as the embedding matrix has rows.
Status read_vocabulary(const MetadataReader& metadata, ModelConfig& config) {
  const gguf::Tensor* embeddings = metadata.file().find_tensor("token_embd.weight");
  if (embeddings == nullptr) return inconsistent("tensor token_embd.weight is missing: the model file is incomplete");
  const uint64_t rows = embeddings->rows();
  if (rows < 1 || rows > kVocabularyMax) {
    return inconsistent(
        format("tensor token_embd.weight has {} rows, but a vocabulary has 1 to {} tokens", rows, kVocabularyMax));
  }
  config.vocabulary = static_cast<int>(rows);
  INFER_ASSIGN(const uint32_t stated,
               metadata.file().get_u32_or(metadata.key("vocab_size"), static_cast<uint32_t>(rows)));
  if (stated == rows) return {};
  return inconsistent(
      format("{} is {}, but tensor token_embd.weight has {} rows", metadata.key("vocab_size"), stated, rows));
}

}  // namespace

std::span<const Architecture> architectures() { return kArchitectures; }

std::span<const std::string_view> known_architectures() {
  static constexpr auto kNames = [] {
    std::array<std::string_view, kArchitectures.size()> names;
    for (size_t i = 0; i < names.size(); ++i) names[i] = kArchitectures[i].name;
    return names;
  }();
  return kNames;
}

Status read_dimensions(const MetadataReader& metadata, NormKind norm, ModelConfig& config) {
  config.norm = norm;
  INFER_ASSIGN(config.norm_epsilon, metadata.positive(norm == NormKind::kRms ? "attention.layer_norm_rms_epsilon"
                                                                             : "attention.layer_norm_epsilon"));
  INFER_ASSIGN(config.layers, metadata.dimension("block_count", kLayersMax));
  config.layer.resize(static_cast<size_t>(config.layers));
  INFER_ASSIGN(config.width, metadata.dimension("embedding_length", kWidthMax));
  INFER_ASSIGN(config.ffn_width, metadata.dimension("feed_forward_length", kFfnWidthMax));
  INFER_ASSIGN(config.context_trained, metadata.dimension("context_length", kContextMax));
  INFER_ASSIGN(config.heads, metadata.dimension("attention.head_count", kHeadsMax));
  INFER_ASSIGN(config.kv_heads, metadata.dimension_or("attention.head_count_kv", config.heads, kHeadsMax));
  if (config.heads % config.kv_heads != 0) {
    return inconsistent(format("{} ({}) is not a multiple of {} ({})", metadata.key("attention.head_count"),
                               config.heads, metadata.key("attention.head_count_kv"), config.kv_heads));
  }
  INFER_TRY(read_head_dim(metadata, config));
  if (config.query_width() > kWidthMax) {
    return inconsistent(format("{} heads of dimension {} are {} wide; the limit is {}", config.heads, config.head_dim,
                               config.query_width(), kWidthMax));
  }
  config.attention_scale = 1.0f / std::sqrt(static_cast<float>(config.head_dim));
  return read_vocabulary(metadata, config);
}

Status read_experts(const MetadataReader& metadata, ModelConfig& config) {
  INFER_ASSIGN(const uint32_t count, metadata.file().get_u32_or(metadata.key("expert_count"), 0));
  if (count == 0) return {};
  INFER_ASSIGN(config.experts.count, metadata.dimension("expert_count", kExpertsMax));
  INFER_ASSIGN(config.experts.used, metadata.dimension("expert_used_count", config.experts.count));
  INFER_ASSIGN(config.experts.scale, metadata.positive_or("expert_weights_scale", 1.0f));
  INFER_ASSIGN(config.ffn_width, metadata.dimension_or("expert_feed_forward_length", config.ffn_width, kFfnWidthMax));
  const int64_t most = int64_t{config.layers} * config.experts.count;
  if (most <= kExpertsOfModelMax) return {};
  return inconsistent(format("{} layers of {} experts: the limit is {} in all", config.layers, config.experts.count,
                             kExpertsOfModelMax));
}

Status read_windows(const MetadataReader& metadata, int fallback, int period, ModelConfig& config) {
  INFER_ASSIGN(const uint32_t window,
               metadata.file().get_u32_or(metadata.key("attention.sliding_window"), static_cast<uint32_t>(fallback)));
  if (window == 0) return {};
  const int tokens = static_cast<int>(std::min<uint32_t>(window, kContextMax));
  const gguf::Value* pattern = metadata.file().find(metadata.key("attention.sliding_window_pattern"));
  if (pattern != nullptr && pattern->type() == gguf::ValueType::kArray) {
    const auto has_window = pattern->as_ints();
    if (!has_window || has_window->size() != config.layer.size()) {
      return inconsistent(
          format("metadata key {} must be a number or tell of each of {} layers whether it has a window",
                 metadata.key("attention.sliding_window_pattern"), config.layers));
    }
    for (size_t i = 0; i < config.layer.size(); ++i) config.layer[i].window = (*has_window)[i] != 0 ? tokens : 0;
    return {};
  }
  INFER_ASSIGN(const int every, metadata.dimension_or("attention.sliding_window_pattern", period, kLayersMax));
  for (int i = 0; i < config.layers; ++i) {
    config.layer[static_cast<size_t>(i)].window = i % every < every - 1 ? tokens : 0;
  }
  return {};
}

Result<ModelConfig> read_model_config(const gguf::File& file) {
  INFER_ASSIGN(const std::string_view name, file.get_string("general.architecture"));
  for (const Architecture& architecture : kArchitectures) {
    if (architecture.name != name) continue;
    ModelConfig config;
    config.architecture = name;
    INFER_ASSIGN(config.name, file.get_string_or("general.name", ""));
    const MetadataReader metadata(file, name);
    INFER_TRY(architecture.read(metadata, config));
    INFER_TRY(refuse_unread_experts(metadata, config));
    return config;
  }
  std::string known;
  for (const Architecture& architecture : kArchitectures) {
    known += known.empty() ? "" : ", ";
    known += architecture.name;
  }
  return Error{ErrorCode::kUnsupported,
               format("models of architecture {} cannot be run; known ones: {}", gguf::quoted(name), known)};
}

}  // namespace infer::model
