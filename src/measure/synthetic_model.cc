#include "measure/synthetic_model.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <span>

#include "base/format.h"
#include "kernels/block_formats.h"
#include "measure/random_weights.h"

namespace infer::measure {
namespace {

using kernels::WeightType;

struct Shape {
  const char* name;
  uint32_t layers, width, heads, kv_heads, head_dim, ffn_width, vocabulary;
  bool tied;                  // The output matrix is the token embedding.
  uint32_t experts = 0;       // 0: a Llama; else a gpt-oss, with biases, sinks and windows,
  uint32_t experts_used = 0;  // and of each token so many.
};

constexpr std::array<Shape, 6> kShapes{{
    {"llama-tiny", 4, 256, 8, 4, 32, 768, 4096, true},
    {"llama-1b", 16, 2048, 32, 8, 64, 8192, 128256, true},
    {"llama-3b", 28, 3072, 24, 8, 128, 8192, 128256, true},
    {"llama-8b", 32, 4096, 32, 8, 128, 14336, 128256, false},
    {"gpt-oss-tiny", 4, 256, 8, 4, 32, 256, 4096, false, 8, 2},
    {"gpt-oss-20b", 24, 2880, 64, 8, 64, 2880, 201088, false, 32, 4},
}};

const char* architecture_of(const Shape& shape) { return shape.experts > 0 ? "gpt-oss" : "llama"; }

// Names for users and the number that general.file_type has for a file made mostly of this type.
struct TypeRow {
  const char* name;
  WeightType type;
  uint32_t file_type;
};
constexpr std::array<TypeRow, 16> kTypes{{
    {"f32", WeightType::kF32, 0},
    {"f16", WeightType::kF16, 1},
    {"bf16", WeightType::kBF16, 32},
    {"q8_0", WeightType::kQ8_0, 7},
    {"q4_0", WeightType::kQ4_0, 2},
    {"q4_1", WeightType::kQ4_1, 3},
    {"q5_0", WeightType::kQ5_0, 8},
    {"q5_1", WeightType::kQ5_1, 9},
    {"q2_k", WeightType::kQ2_K, 10},
    {"q3_k", WeightType::kQ3_K, 11},
    {"q4_k", WeightType::kQ4_K, 15},
    {"q5_k", WeightType::kQ5_K, 17},
    {"q6_k", WeightType::kQ6_K, 18},
    {"iq4_nl", WeightType::kIQ4_NL, 25},
    {"iq4_xs", WeightType::kIQ4_XS, 30},
    {"mxfp4", WeightType::kMXFP4, 38},
}};

// As quantizers choose for files made mostly of `type`.
bool has_six_bit_embeddings(WeightType type) {
  switch (type) {
    case WeightType::kQ2_K:
    case WeightType::kQ3_K:
    case WeightType::kQ4_0:
    case WeightType::kQ4_K:
    case WeightType::kIQ4_NL:
    case WeightType::kIQ4_XS:
    case WeightType::kMXFP4: return true;
    default: return false;
  }
}

constexpr size_t kPieceBytes = 4 << 20;

std::string lower_case(std::string text) {
  for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return text;
}

uint64_t tensor_bytes(WeightType type, const std::vector<uint64_t>& dims) {
  const auto* info = kernels::weight_type_info(static_cast<uint32_t>(type));
  uint64_t elements = 1;
  for (const uint64_t dim : dims) elements *= dim;
  return elements / info->block_elems * info->block_bytes;
}

}  // namespace

std::vector<std::string> synthetic_shape_names() {
  std::vector<std::string> names;
  for (const Shape& shape : kShapes) names.push_back(shape.name);
  return names;
}

std::vector<std::string> synthetic_type_names() {
  std::vector<std::string> names;
  for (const TypeRow& row : kTypes) names.push_back(row.name);
  return names;
}

Result<SyntheticModel> SyntheticModel::make(const SyntheticModelOptions& options) {
  SyntheticModel model;
  model.options_ = options;
  const auto shape =
      std::find_if(kShapes.begin(), kShapes.end(), [&](const Shape& s) { return s.name == options.shape; });
  const std::string type_name = lower_case(options.type);
  const auto type = std::find_if(kTypes.begin(), kTypes.end(), [&](const TypeRow& t) { return t.name == type_name; });
  if (shape == kShapes.end()) return Error{ErrorCode::kInvalidArgument, format("unknown shape '{}'", options.shape)};
  if (type == kTypes.end()) return Error{ErrorCode::kInvalidArgument, format("unknown weight type '{}'", options.type)};
  model.shape_ = static_cast<size_t>(shape - kShapes.begin());
  model.file_type_ = type->file_type;
  model.plan_tensors(type->type);
  INFER_ASSIGN(const gguf::Writer writer, model.declare());
  INFER_ASSIGN(model.file_bytes_, writer.file_bytes());
  return model;
}

void SyntheticModel::plan_tensors(WeightType type) {
  const Shape& s = kShapes[shape_];
  const bool six_bits = has_six_bit_embeddings(type);
  // Of gpt-oss only the experts are small; 2880 columns are no multiple of Q6_K's blocks either.
  const WeightType shared = s.experts > 0 && six_bits ? WeightType::kQ8_0 : type;
  const WeightType embedding = six_bits ? (s.experts > 0 ? WeightType::kQ8_0 : WeightType::kQ6_K) : type;
  tensors_.push_back({"token_embd.weight", embedding, {s.width, s.vocabulary}});
  for (uint32_t layer = 0; layer < s.layers; ++layer) {
    const std::string prefix = format("blk.{}.", layer);
    plan_attention(prefix, shared);
    if (s.experts > 0) {
      plan_experts(prefix, type);
      continue;
    }
    tensors_.push_back({prefix + "ffn_norm.weight", WeightType::kF32, {s.width}});
    tensors_.push_back({prefix + "ffn_gate.weight", type, {s.width, s.ffn_width}});
    tensors_.push_back({prefix + "ffn_up.weight", type, {s.width, s.ffn_width}});
    tensors_.push_back({prefix + "ffn_down.weight", type, {s.ffn_width, s.width}});
  }
  tensors_.push_back({"output_norm.weight", WeightType::kF32, {s.width}});
  if (!s.tied) tensors_.push_back({"output.weight", embedding, {s.width, s.vocabulary}});
}

void SyntheticModel::plan_attention(const std::string& prefix, WeightType type) {
  const Shape& s = kShapes[shape_];
  const uint64_t query_width = uint64_t{s.heads} * s.head_dim;
  const uint64_t kv_width = uint64_t{s.kv_heads} * s.head_dim;
  tensors_.push_back({prefix + "attn_norm.weight", WeightType::kF32, {s.width}});
  const auto matrix = [&](const char* name, uint64_t cols, uint64_t rows) {
    tensors_.push_back({prefix + name + ".weight", type, {cols, rows}});
    if (s.experts > 0) tensors_.push_back({prefix + name + ".bias", WeightType::kF32, {rows}});
  };
  matrix("attn_q", s.width, query_width);
  matrix("attn_k", s.width, kv_width);
  matrix("attn_v", s.width, kv_width);
  matrix("attn_output", query_width, s.width);
  if (s.experts > 0) tensors_.push_back({prefix + "attn_sinks.weight", WeightType::kF32, {s.heads}});
}

void SyntheticModel::plan_experts(const std::string& prefix, WeightType type) {
  const Shape& s = kShapes[shape_];
  tensors_.push_back({prefix + "post_attention_norm.weight", WeightType::kF32, {s.width}});
  tensors_.push_back({prefix + "ffn_gate_inp.weight", WeightType::kF32, {s.width, s.experts}});
  tensors_.push_back({prefix + "ffn_gate_inp.bias", WeightType::kF32, {s.experts}});
  const auto stacked = [&](const char* name, uint64_t cols, uint64_t rows) {
    tensors_.push_back({prefix + name + ".weight", type, {cols, rows, s.experts}});
    tensors_.push_back({prefix + name + ".bias", WeightType::kF32, {rows, s.experts}});
  };
  stacked("ffn_gate_exps", s.width, s.ffn_width);
  stacked("ffn_up_exps", s.width, s.ffn_width);
  stacked("ffn_down_exps", s.ffn_width, s.width);
}

Result<gguf::Writer> SyntheticModel::declare() const {
  const Shape& s = kShapes[shape_];
  const std::string prefix = architecture_of(s) + std::string(".");
  gguf::Writer writer;
  INFER_TRY(writer.add_string("general.architecture", architecture_of(s)));
  INFER_TRY(writer.add_string("general.name", format("synthetic {} {}", s.name, lower_case(options_.type))));
  INFER_TRY(writer.add(prefix + "block_count", s.layers));
  INFER_TRY(writer.add(prefix + "context_length", static_cast<uint32_t>(options_.context)));
  INFER_TRY(writer.add(prefix + "embedding_length", s.width));
  INFER_TRY(writer.add(prefix + "feed_forward_length", s.ffn_width));
  INFER_TRY(writer.add(prefix + "attention.head_count", s.heads));
  INFER_TRY(writer.add(prefix + "attention.head_count_kv", s.kv_heads));
  if (s.experts > 0) {
    INFER_TRY(writer.add(prefix + "attention.key_length", s.head_dim));
    INFER_TRY(writer.add(prefix + "attention.value_length", s.head_dim));
    INFER_TRY(writer.add(prefix + "attention.sliding_window", uint32_t{128}));
    INFER_TRY(writer.add(prefix + "expert_count", s.experts));
    INFER_TRY(writer.add(prefix + "expert_used_count", s.experts_used));
    INFER_TRY(writer.add(prefix + "expert_feed_forward_length", s.ffn_width));
  }
  INFER_TRY(writer.add(prefix + "rope.dimension_count", s.head_dim));
  INFER_TRY(writer.add(prefix + "rope.freq_base", 500000.0f));
  INFER_TRY(writer.add(prefix + "attention.layer_norm_rms_epsilon", 1e-5f));
  INFER_TRY(writer.add(prefix + "vocab_size", s.vocabulary));
  INFER_TRY(writer.add("general.file_type", file_type_));
  INFER_TRY(writer.add_string("tokenizer.ggml.model", "none"));
  for (const TensorPlan& tensor : tensors_) {
    INFER_TRY(writer.add_tensor(tensor.name, tensor.type, std::span<const uint64_t>(tensor.dims)));
  }
  return writer;
}

Status SyntheticModel::write(gguf::ByteSink& sink, const CallContext& call,
                             const std::function<void(uint64_t)>& progress) const {
  INFER_ASSIGN(gguf::Writer writer, declare());
  INFER_ASSIGN(gguf::TensorDataWriter data, std::move(writer).write_header(&sink));
  uint64_t done = 0;
  Rng seeds(options_.seed);
  for (const TensorPlan& tensor : tensors_) INFER_TRY(write_tensor(tensor, seeds.next(), data, call, progress, &done));
  return data.finish();
}

Status SyntheticModel::write_tensor(const TensorPlan& tensor, uint64_t seed, gguf::TensorDataWriter& data,
                                    const CallContext& call, const std::function<void(uint64_t)>& progress,
                                    uint64_t* done) const {
  const uint64_t bytes = tensor_bytes(tensor.type, tensor.dims);
  if (tensor.dims.size() == 1) {  // Norms: ones.
    const std::vector<float> ones(tensor.dims[0], 1.0f);
    *done += bytes;
    return data.append(tensor.name, std::as_bytes(std::span(ones)));
  }
  const size_t block_bytes = kernels::weight_type_info(static_cast<uint32_t>(tensor.type))->block_bytes;
  RandomWeights weights(tensor.type, 0.5f / std::sqrt(static_cast<float>(tensor.dims[0])), seed);
  std::vector<std::byte> piece(std::min<uint64_t>(bytes, kPieceBytes / block_bytes * block_bytes));
  for (uint64_t at = 0; at < bytes; at += piece.size()) {
    INFER_TRY(call.check("writing the model"));
    piece.resize(std::min<uint64_t>(piece.size(), bytes - at));
    weights.fill(piece);
    INFER_TRY(data.append(tensor.name, piece));
    *done += piece.size();
    if (progress) progress(*done);
  }
  return {};
}

}  // namespace infer::measure
