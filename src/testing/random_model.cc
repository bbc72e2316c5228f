#include "testing/random_model.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <string_view>
#include <utility>

#include "base/check.h"
#include "base/format.h"
#include "base/rng.h"
#include "gguf/writer.h"
#include "kernels/panels.h"
#include "kernels/reference.h"

namespace infer::testing {

namespace {

using kernels::WeightType;

struct TensorShape {
  std::string name;
  WeightType type;
  std::vector<uint64_t> dims;
  float centre;  // Values lie around it ...
  float spread;  // ... within this.
};

class TensorList {
 public:
  explicit TensorList(const RandomModel& model) : model_(model) {
    matrix("token_embd", model.width, model.vocabulary, false);
    for (int layer = 0; layer < model.layers; ++layer) add_layer(format("blk.{}.", layer));
    vector("output_norm.weight", model.width, 1.0f, 0.3f);
    if (!model.tied) matrix("output", model.width, model.vocabulary, false);
    const int pairs = (model.rope_dims > 0 ? model.rope_dims : model.head_dim) / 2;
    if (model.rope_factors) vector("rope_freqs.weight", pairs, 4.0f, 3.0f);
    for (const auto& [name, dims] : model.dims) {
      const bool known = std::any_of(shapes_.begin(), shapes_.end(), [&](const auto& s) { return s.name == name; });
      if (!known) shapes_.push_back({name, WeightType::kF32, dims, 0.0f, 1.0f});
    }
  }
  const std::vector<TensorShape>& shapes() const { return shapes_; }

 private:
  void add_layer(const std::string& prefix) {
    const int query = model_.heads * model_.head_dim, kv = model_.kv_heads * model_.head_dim;
    vector(prefix + "attn_norm.weight", model_.width, 1.0f, 0.3f);
    matrix(prefix + "attn_q", model_.width, query, model_.biases);
    matrix(prefix + "attn_k", model_.width, kv, model_.biases);
    matrix(prefix + "attn_v", model_.width, kv, model_.biases);
    matrix(prefix + "attn_output", query, model_.width, model_.biases);
    const bool gpt_oss = model_.architecture == "gpt-oss";
    if (gpt_oss) vector(prefix + "attn_sinks.weight", model_.heads, 0.0f, 1.0f);
    vector(prefix + (gpt_oss ? "post_attention_norm.weight" : "ffn_norm.weight"), model_.width, 1.0f, 0.3f);
    if (model_.experts > 0) return add_experts(prefix);
    matrix(prefix + "ffn_gate", model_.width, model_.ffn_width, model_.biases);
    matrix(prefix + "ffn_up", model_.width, model_.ffn_width, model_.biases);
    matrix(prefix + "ffn_down", model_.ffn_width, model_.width, model_.biases);
  }
  void add_experts(const std::string& prefix) {
    vector(prefix + "ffn_gate_inp.bias", model_.experts, 0.0f, 0.5f);
    add({prefix + "ffn_gate_inp.weight", WeightType::kF32, sizes(model_.width, model_.experts), 0.0f, 0.2f});
    stacked(prefix + "ffn_gate_exps", model_.width, model_.ffn_width);
    stacked(prefix + "ffn_up_exps", model_.width, model_.ffn_width);
    stacked(prefix + "ffn_down_exps", model_.ffn_width, model_.width);
  }
  void stacked(const std::string& stem, int cols, int rows) {
    std::vector<uint64_t> dims = sizes(cols, rows);
    dims.push_back(static_cast<uint64_t>(model_.experts));
    add({stem + ".weight", model_.type, std::move(dims), 0.0f, 2.0f / std::sqrt(static_cast<float>(cols))});
    if (model_.biases) add({stem + ".bias", WeightType::kF32, sizes(rows, model_.experts), 0.0f, 0.5f});
  }
  static std::vector<uint64_t> sizes(int cols, int rows) {
    return {static_cast<uint64_t>(cols), static_cast<uint64_t>(rows)};
  }
  void matrix(const std::string& stem, int cols, int rows, bool bias) {
    const float spread = 2.0f / std::sqrt(static_cast<float>(cols));
    add({stem + ".weight", model_.type, sizes(cols, rows), 0.0f, spread});
    if (bias) vector(stem + ".bias", rows, 0.0f, 0.5f);
  }
  void vector(const std::string& name, int elements, float centre, float spread) {
    add({name, WeightType::kF32, {static_cast<uint64_t>(elements)}, centre, spread});
  }
  void add(TensorShape shape) {
    if (model_.without.contains(shape.name)) return;
    if (const auto dims = model_.dims.find(shape.name); dims != model_.dims.end()) shape.dims = dims->second;
    shapes_.push_back(std::move(shape));
  }

  const RandomModel& model_;
  std::vector<TensorShape> shapes_;
};

class MetadataList {
 public:
  MetadataList(const RandomModel& model, gguf::Writer& writer) : model_(model), writer_(writer) {
    string("general.architecture", model.architecture);
    integer(key("block_count"), model.layers);
    integer(key("embedding_length"), model.width);
    integer(key("feed_forward_length"), model.ffn_width);
    integer(key("context_length"), model.context);
    integer(key("attention.head_count"), model.heads);
    integer(key("attention.head_count_kv"), model.kv_heads);
    integer(key("attention.key_length"), model.head_dim);
    integer(key("attention.value_length"), model.head_dim);
    if (model.experts > 0) {
      integer(key("expert_count"), model.experts);
      integer(key("expert_used_count"), model.experts_used);
    }
    if (model.window > 0) {
      integer(key("attention.sliding_window"), model.window);
      integer(key("attention.sliding_window_pattern"), model.window_period);
    }
    if (model.rope_dims > 0) integer(key("rope.dimension_count"), model.rope_dims);
    real(key("attention.layer_norm_rms_epsilon"), 1e-5f);
    if (model.linear_factor > 0) {
      string(key("rope.scaling.type"), "linear");
      real(key("rope.scaling.factor"), model.linear_factor);
    }
    for (const auto& [key, value] : model.integers) INFER_CHECK(writer.add(key, value).has_value());
    for (const auto& [key, value] : model.floats) INFER_CHECK(writer.add(key, value).has_value());
    for (const auto& [key, value] : model.strings) INFER_CHECK(writer.add_string(key, value).has_value());
  }

 private:
  std::string key(const char* name) const { return model_.architecture + "." + name; }
  bool replaced(const std::string& key) const {
    return model_.without.contains(key) || model_.integers.contains(key) || model_.floats.contains(key) ||
           model_.strings.contains(key);
  }
  void integer(const std::string& key, int value) {
    if (!replaced(key)) INFER_CHECK(writer_.add(key, static_cast<uint32_t>(value)).has_value());
  }
  void real(const std::string& key, float value) {
    if (!replaced(key)) INFER_CHECK(writer_.add(key, value).has_value());
  }
  void string(const std::string& key, std::string_view value) {
    if (!replaced(key)) INFER_CHECK(writer_.add_string(key, value).has_value());
  }

  const RandomModel& model_;
  gguf::Writer& writer_;
};

}  // namespace

std::vector<std::byte> write_model(const RandomModel& model) {
  gguf::Writer writer;
  MetadataList(model, writer);
  const TensorList tensors(model);
  for (const TensorShape& shape : tensors.shapes()) {
    INFER_CHECK(writer.add_tensor(shape.name, shape.type, shape.dims).has_value());
  }
  gguf::MemorySink sink;
  Result<gguf::TensorDataWriter> data = std::move(writer).write_header(&sink);
  INFER_CHECK(data.has_value());
  Rng rng(model.seed);
  for (const TensorShape& shape : tensors.shapes()) {
    const int cols = static_cast<int>(shape.dims[0]);
    uint64_t rows = 1;
    for (size_t i = 1; i < shape.dims.size(); ++i) rows *= shape.dims[i];
    std::vector<float> values(shape.dims[0]);
    std::vector<std::byte> row(kernels::row_bytes(shape.type, cols));
    for (uint64_t r = 0; r < rows; ++r) {
      for (float& value : values) value = shape.centre + shape.spread * static_cast<float>(2 * rng.uniform() - 1);
      kernels::quantize_row(shape.type, values.data(), cols, row.data());
      INFER_CHECK(data->append(shape.name, row).has_value());
    }
  }
  INFER_CHECK(data->finish().has_value());
  return sink.bytes();
}

}  // namespace infer::testing
