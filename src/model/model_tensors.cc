#include "model/model_tensors.h"

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

  Result<const gguf::Tensor*> find(const std::string& name, uint64_t cols, uint64_t rows) {
    const gguf::Tensor* tensor = file_.find_tensor(name);
    if (tensor == nullptr) {
      return Error{ErrorCode::kCorrupt, format("tensor {} is missing: the model file is incomplete", name)};
    }
    if (tensor->dims[0] != cols || tensor->rows() != rows || tensor->dims[2] != 1 || tensor->dims[3] != 1) {
      const std::string expected = rows == 1 ? format("[{}]", cols) : format("[{}, {}]", cols, rows);
      return Error{ErrorCode::kCorrupt, format("tensor {} has the shape {}, but the model's metadata asks for {}", name,
                                               tensor->shape_text(), expected)};
    }
    used_[static_cast<size_t>(tensor - file_.tensors().data())] = true;
    return tensor;
  }

  Result<const gguf::Tensor*> find_optional(const std::string& name, uint64_t cols) {
    if (file_.find_tensor(name) == nullptr) return static_cast<const gguf::Tensor*>(nullptr);
    return find(name, cols, 1);
  }

  // `stem`.weight and, where there is one, `stem`.bias.
  Result<MatrixTensor> find_matrix(const std::string& stem, int cols, int rows) {
    MatrixTensor matrix{.rows = rows, .cols = cols};
    INFER_ASSIGN(matrix.weight, find(stem + ".weight", static_cast<uint64_t>(cols), static_cast<uint64_t>(rows)));
    INFER_ASSIGN(matrix.bias, find_optional(stem + ".bias", static_cast<uint64_t>(rows)));
    return matrix;
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

Result<LayerTensors> find_layer(TensorFinder& finder, const ModelConfig& config, int index) {
  const std::string prefix = format("blk.{}.", index);
  const auto width = static_cast<uint64_t>(config.width);
  LayerTensors layer;
  INFER_ASSIGN(layer.attention_norm, finder.find(prefix + "attn_norm.weight", width, 1));
  INFER_ASSIGN(layer.query, finder.find_matrix(prefix + "attn_q", config.width, config.query_width()));
  INFER_ASSIGN(layer.key, finder.find_matrix(prefix + "attn_k", config.width, config.kv_width()));
  INFER_ASSIGN(layer.value, finder.find_matrix(prefix + "attn_v", config.width, config.kv_width()));
  INFER_ASSIGN(layer.attention_output, finder.find_matrix(prefix + "attn_output", config.query_width(), config.width));
  INFER_ASSIGN(layer.ffn_norm, finder.find(prefix + "ffn_norm.weight", width, 1));
  INFER_ASSIGN(layer.gate, finder.find_matrix(prefix + "ffn_gate", config.width, config.ffn_width));
  INFER_ASSIGN(layer.up, finder.find_matrix(prefix + "ffn_up", config.width, config.ffn_width));
  INFER_ASSIGN(layer.down, finder.find_matrix(prefix + "ffn_down", config.ffn_width, config.width));
  return layer;
}

}  // namespace

uint64_t ModelTensors::weights_bytes() const {
  uint64_t bytes = 0;
  for_each_matrix(*this, [&](const MatrixTensor& matrix) {
    bytes += kernels::packed_bytes(matrix.weight->type, matrix.rows, matrix.cols);
  });
  for_each_vector(*this, [&](const gguf::Tensor* vector) {
    if (vector != nullptr) bytes += vector->elements() * sizeof(float);
  });
  return bytes;
}

Result<ModelTensors> find_tensors(const gguf::File& file, const ModelConfig& config) {
  TensorFinder finder(file);
  ModelTensors tensors;
  const auto width = static_cast<uint64_t>(config.width);
  INFER_ASSIGN(tensors.embeddings, finder.find("token_embd.weight", width, static_cast<uint64_t>(config.vocabulary)));
  INFER_ASSIGN(tensors.output_norm, finder.find("output_norm.weight", width, 1));
  // Tied models have no output matrix of their own: the embeddings serve.
  const bool tied = file.find_tensor("output.weight") == nullptr;
  INFER_ASSIGN(tensors.output, finder.find_matrix(tied ? "token_embd" : "output", config.width, config.vocabulary));
  INFER_ASSIGN(tensors.rope_factors,
               finder.find_optional("rope_freqs.weight", static_cast<uint64_t>(config.rope.dims / 2)));
  tensors.layers.reserve(static_cast<size_t>(config.layers));
  for (int i = 0; i < config.layers; ++i) {
    INFER_ASSIGN(const LayerTensors layer, find_layer(finder, config, i));
    tensors.layers.push_back(layer);
  }
  INFER_TRY(finder.refuse_unused());
  return tensors;
}

}  // namespace infer::model
