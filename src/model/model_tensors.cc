#include "model/model_tensors.h"

#include <array>
#include <string>
#include <string_view>

#include "base/format.h"
#include "gguf/printable.h"
#include "kernels/panels.h"

namespace infer::model {

namespace {

class TensorFinder {
 public:
  explicit TensorFinder(const gguf::File& file) : file_(file), used_(file.tensors().size()) {}

  const gguf::Tensor* find_any(const std::string& name) const { return file_.find_tensor(name); }
  bool has(const std::string& name) const { return find_any(name) != nullptr; }

  // [cols, rows], `stacked` times.
  Result<const gguf::Tensor*> find(const std::string& name, int cols, int rows, int stacked = 1) {
    const gguf::Tensor* tensor = file_.find_tensor(name);
    if (tensor == nullptr) {
      return Error{ErrorCode::kCorrupt, format("tensor {} is missing: the model file is incomplete", name)};
    }
    const std::array<uint64_t, 4> dims{static_cast<uint64_t>(cols), static_cast<uint64_t>(rows),
                                       static_cast<uint64_t>(stacked), 1};
    if (tensor->dims != dims) {
      std::string expected = format("[{}", cols);
      if (rows > 1 || stacked > 1) expected += format(", {}", rows);
      expected += stacked > 1 ? format(", {}]", stacked) : "]";
      return Error{ErrorCode::kCorrupt, format("tensor {} has the shape {}, but the model's metadata asks for {}", name,
                                               tensor->shape_text(), expected)};
    }
    used_[static_cast<size_t>(tensor - file_.tensors().data())] = true;
    return tensor;
  }

  // A vector of cols * rows elements.
  Result<VectorTensor> find_vector(const std::string& name, int cols, int rows = 1) {
    VectorTensor vector{.source = nullptr, .begin = 0, .count = cols * rows};
    INFER_ASSIGN(vector.source, find(name, cols, rows));
    return vector;
  }
  Result<VectorTensor> find_optional(const std::string& name, int cols) {
    return has(name) ? find_vector(name, cols) : Result<VectorTensor>(VectorTensor{});
  }

  // `stem`.weight and, where there is one, `stem`.bias.
  Result<MatrixTensor> find_matrix(const std::string& stem, int cols, int rows) {
    MatrixTensor matrix{.weight = nullptr, .bias = {}, .rows = rows, .cols = cols};
    INFER_ASSIGN(matrix.weight, find(stem + ".weight", cols, rows));
    INFER_ASSIGN(matrix.bias, find_optional(stem + ".bias", rows));
    return matrix;
  }

  // Experts' matrices: all of them under one name, their biases under another.
  Result<MatrixTensor> find_stacked(const std::string& stem, int cols, int rows, int stacked) {
    MatrixTensor matrix{.weight = nullptr, .bias = {}, .rows = rows, .cols = cols};
    INFER_ASSIGN(matrix.weight, find(stem + ".weight", cols, rows, stacked));
    if (has(stem + ".bias")) {
      INFER_ASSIGN(matrix.bias, find_vector(stem + ".bias", rows, stacked));
    }
    return matrix;
  }

  // `stem`.weight and, for layer norms, where there is one, `name`.bias.
  Result<NormTensor> find_norm(const std::string& stem, NormKind kind, int cols, int rows = 1) {
    NormTensor norm;
    INFER_ASSIGN(norm.weight, find_vector(stem + ".weight", cols, rows));
    if (kind == NormKind::kLayer && rows == 1) {
      INFER_ASSIGN(norm.bias, find_optional(stem + ".bias", cols));
    }
    return norm;
  }

  Status refuse_unused() const {
    for (size_t i = 0; i < used_.size(); ++i) {
      const std::string_view name = file_.tensors()[i].name;
      // Tables that early converters stored; they follow from the metadata.
      if (used_[i] || name.ends_with(".attn_rot_embd") || name == "rope.freqs") continue;
      return Error{ErrorCode::kUnsupported,
                   format("tensor {} is unknown for this architecture, so the model would not be computed as it was "
                          "trained",
                          gguf::quoted(name))};
    }
    return {};
  }

 private:
  const gguf::File& file_;
  std::vector<bool> used_;
};

// Rows [first, first + rows) of a fused matrix.
Result<MatrixTensor> rows_of(const MatrixTensor& fused, int first, int rows) {
  MatrixTensor part = fused;
  part.first_row = first;
  part.rows = rows;
  if (fused.bias.source == nullptr) return part;
  if (kernels::uses_int8_inputs(fused.bias.source->type)) {
    return Error{
        ErrorCode::kUnsupported,
        format("tensor {} is quantized, which vectors never are: convert the model anew", fused.bias.source->name)};
  }
  part.bias.begin = first;
  part.bias.count = rows;
  return part;
}

class LayerFinder {
 public:
  LayerFinder(TensorFinder& finder, const ModelConfig& config, int index)
      : finder_(finder), config_(config), prefix_(format("blk.{}.", index)) {}

  Result<LayerTensors> find() {
    INFER_TRY(find_norms());
    INFER_TRY(find_head_norms());
    INFER_TRY(find_attention());
    INFER_TRY(find_feed_forward());
    return layer_;
  }

 private:
  Status find_norms() {
    if (config_.pre_norms) {
      INFER_ASSIGN(layer_.attention_norm, find_norm("attn_norm"));
      if (config_.shared_norm) {
        layer_.ffn_norm = layer_.attention_norm;
      } else {
        INFER_ASSIGN(layer_.ffn_norm, find_norm(config_.ffn_norm_name));
      }
    }
    if (config_.post_norms) {
      INFER_ASSIGN(layer_.attention_post_norm, find_norm("post_attention_norm"));
      INFER_ASSIGN(layer_.ffn_post_norm, find_norm("post_ffw_norm"));
    }
    return {};
  }
  Result<NormTensor> find_norm(std::string_view name) {
    return finder_.find_norm(prefix_ + std::string(name), config_.norm, config_.width);
  }

  Status find_head_norms() {
    const int head_dim = config_.head_dim;
    if (config_.head_norm == HeadNorm::kNone) return {};
    const auto find = [&](const char* name, int heads) {
      const bool whole = config_.head_norm == HeadNorm::kWhole, separate = config_.head_norm == HeadNorm::kSeparate;
      return finder_.find_norm(prefix_ + name, config_.norm, whole ? heads * head_dim : head_dim, separate ? heads : 1);
    };
    INFER_ASSIGN(layer_.query_norm, find("attn_q_norm", config_.heads));
    INFER_ASSIGN(layer_.key_norm, find("attn_k_norm", config_.kv_heads));
    return {};
  }

  Status find_attention() {
    const int width = config_.width, query = config_.query_width(), kv = config_.kv_width();
    if (config_.attention_sinks) {
      INFER_ASSIGN(layer_.sinks, finder_.find_vector(prefix_ + "attn_sinks.weight", config_.heads));
    }
    INFER_ASSIGN(layer_.attention_output, finder_.find_matrix(prefix_ + "attn_output", query, width));
    if (finder_.has(prefix_ + "attn_qkv.weight")) {
      INFER_ASSIGN(const MatrixTensor fused, finder_.find_matrix(prefix_ + "attn_qkv", width, query + 2 * kv));
      INFER_ASSIGN(layer_.query, rows_of(fused, 0, query));
      INFER_ASSIGN(layer_.key, rows_of(fused, query, kv));
      INFER_ASSIGN(layer_.value, rows_of(fused, query + kv, kv));
      return {};
    }
    INFER_ASSIGN(layer_.query, finder_.find_matrix(prefix_ + "attn_q", width, query));
    INFER_ASSIGN(layer_.key, finder_.find_matrix(prefix_ + "attn_k", width, kv));
    INFER_ASSIGN(layer_.value, finder_.find_matrix(prefix_ + "attn_v", width, kv));
    return {};
  }

  Status find_feed_forward() {
    const int width = config_.width, ffn = config_.ffn_width;
    if (config_.experts.count > 0) return find_experts();
    INFER_ASSIGN(layer_.dense.down, finder_.find_matrix(prefix_ + "ffn_down", ffn, width));
    const bool gated = is_gated(config_.feed_forward);
    if (gated && !finder_.has(prefix_ + "ffn_gate.weight") && is_fused_up()) {
      INFER_ASSIGN(const MatrixTensor fused, finder_.find_matrix(prefix_ + "ffn_up", width, 2 * ffn));
      INFER_ASSIGN(layer_.dense.gate, rows_of(fused, 0, ffn));
      INFER_ASSIGN(layer_.dense.up, rows_of(fused, ffn, ffn));
      return {};
    }
    if (gated) {
      INFER_ASSIGN(layer_.dense.gate, finder_.find_matrix(prefix_ + "ffn_gate", width, ffn));
    }
    INFER_ASSIGN(layer_.dense.up, finder_.find_matrix(prefix_ + "ffn_up", width, ffn));
    return {};
  }
  Status find_experts() {
    const int width = config_.width, ffn = config_.ffn_width, count = config_.experts.count;
    INFER_ASSIGN(layer_.router, finder_.find_matrix(prefix_ + "ffn_gate_inp", width, count));
    ExpertTensors all;
    INFER_ASSIGN(all.up, finder_.find_stacked(prefix_ + "ffn_up_exps", width, ffn, count));
    INFER_ASSIGN(all.down, finder_.find_stacked(prefix_ + "ffn_down_exps", ffn, width, count));
    if (is_gated(config_.feed_forward)) {
      INFER_ASSIGN(all.gate, finder_.find_stacked(prefix_ + "ffn_gate_exps", width, ffn, count));
    }
    for (int i = 0; i < count; ++i) {
      ExpertTensors& expert = layer_.experts.emplace_back();
      INFER_ASSIGN(expert.gate, rows_of(all.gate, i * all.gate.rows, all.gate.rows));
      INFER_ASSIGN(expert.up, rows_of(all.up, i * ffn, ffn));
      INFER_ASSIGN(expert.down, rows_of(all.down, i * width, width));
    }
    return {};
  }
  bool is_fused_up() const {
    const gguf::Tensor* up = finder_.find_any(prefix_ + "ffn_up.weight");
    return up != nullptr && up->rows() == 2 * static_cast<uint64_t>(config_.ffn_width);
  }

  TensorFinder& finder_;
  const ModelConfig& config_;
  std::string prefix_;
  LayerTensors layer_;
};

}  // namespace

uint64_t ModelTensors::weights_bytes() const {
  uint64_t bytes = 0;
  for_each_matrix(*this, [&](const MatrixTensor& matrix) {
    bytes += kernels::packed_bytes(matrix.weight->type, matrix.rows, matrix.cols);
  });
  for_each_vector(*this,
                  [&](const VectorTensor& vector) { bytes += static_cast<uint64_t>(vector.count) * sizeof(float); });
  return bytes;
}

Result<ModelTensors> find_tensors(const gguf::File& file, const ModelConfig& config) {
  TensorFinder finder(file);
  ModelTensors tensors;
  INFER_ASSIGN(tensors.embeddings, finder.find("token_embd.weight", config.width, config.vocabulary));
  if (config.learned_positions) {
    INFER_ASSIGN(tensors.positions, finder.find("position_embd.weight", config.width, config.context_trained));
  }
  INFER_ASSIGN(tensors.output_norm, finder.find_norm("output_norm", config.norm, config.width));
  // Tied models have no output matrix of their own: the embeddings serve.
  const bool tied = file.find_tensor("output.weight") == nullptr;
  INFER_ASSIGN(tensors.output, finder.find_matrix(tied ? "token_embd" : "output", config.width, config.vocabulary));
  const int pairs = config.rope_pairs();
  INFER_ASSIGN(tensors.rope_factors, finder.find_optional("rope_freqs.weight", pairs));
  if (config.ropes.front().factors_context > 0) {
    INFER_ASSIGN(tensors.rope_factors_long, finder.find_optional("rope_factors_long.weight", pairs));
    INFER_ASSIGN(tensors.rope_factors_short, finder.find_optional("rope_factors_short.weight", pairs));
  }
  tensors.layers.reserve(static_cast<size_t>(config.layers));
  for (int i = 0; i < config.layers; ++i) {
    INFER_ASSIGN(LayerTensors layer, LayerFinder(finder, config, i).find());
    tensors.layers.push_back(std::move(layer));
  }
  INFER_TRY(finder.refuse_unused());
  return tensors;
}

}  // namespace infer::model
