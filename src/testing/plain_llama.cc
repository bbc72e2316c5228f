#include "testing/plain_llama.h"

#include <algorithm>
#include <cmath>

#include "kernels/panels.h"
#include "kernels/reference.h"

namespace infer::testing {

PlainLlama::PlainLlama(const gguf::File& file) {
  for (const gguf::MetadataEntry& entry : file.metadata()) {
    if (const auto value = entry.value.as_float()) numbers_.emplace(entry.key, *value);
  }
  for (const gguf::Tensor& source : file.tensors()) {
    Tensor copy{.cols = static_cast<size_t>(source.dims[0]), .values = {}};
    std::vector<float> row(copy.cols);
    const int cols = static_cast<int>(copy.cols);
    for (size_t r = 0; r < source.rows(); ++r) {
      kernels::dequantize_row(source.type, source.data.data() + r * kernels::row_bytes(source.type, cols), cols,
                              row.data());
      copy.values.insert(copy.values.end(), row.begin(), row.end());
    }
    tensors_.emplace(source.name, std::move(copy));
  }
  heads_ = static_cast<size_t>(number("llama.attention.head_count", 0));
  kv_heads_ = static_cast<size_t>(number("llama.attention.head_count_kv", static_cast<double>(heads_)));
  const double derived = number("llama.embedding_length", 0) / static_cast<double>(heads_);
  head_dim_ = static_cast<size_t>(number("llama.attention.key_length", derived));
  rope_dims_ = static_cast<size_t>(number("llama.rope.dimension_count", static_cast<double>(head_dim_)));
  layers_ = static_cast<size_t>(number("llama.block_count", 0));
}

double PlainLlama::number(std::string_view key, double fallback) const {
  const auto found = numbers_.find(key);
  return found != numbers_.end() ? found->second : fallback;
}

PlainLlama::Vector PlainLlama::multiply(const std::string& stem, const Vector& x) const {
  const Tensor& matrix = tensor(stem + ".weight");
  Vector out(matrix.values.size() / matrix.cols);
  for (size_t row = 0; row < out.size(); ++row) {
    for (size_t col = 0; col < x.size(); ++col) out[row] += matrix.values[row * matrix.cols + col] * x[col];
  }
  if (const auto bias = tensors_.find(stem + ".bias"); bias != tensors_.end()) {
    for (size_t row = 0; row < out.size(); ++row) out[row] += bias->second.values[row];
  }
  return out;
}

PlainLlama::Vector PlainLlama::normalize(const std::string& name, const Vector& x) const {
  double squares = 0;
  for (const double value : x) squares += value * value;
  const double mean = squares / static_cast<double>(x.size());
  const double factor = 1 / std::sqrt(mean + number("llama.attention.layer_norm_rms_epsilon", 0));
  Vector out(x.size());
  for (size_t i = 0; i < x.size(); ++i) out[i] = x[i] * factor * tensor(name).values[i];
  return out;
}

void PlainLlama::rotate(Vector& heads, size_t position) const {
  const double base = number("llama.rope.freq_base", 10000), scale = number("llama.rope.scaling.factor", 1);
  const auto factors = tensors_.find("rope_freqs.weight");
  for (size_t head = 0; head < heads.size(); head += head_dim_) {
    for (size_t i = 0; i < rope_dims_; i += 2) {
      double angle = static_cast<double>(position) / scale *
                     std::pow(base, -static_cast<double>(i) / static_cast<double>(rope_dims_));
      if (factors != tensors_.end()) angle /= factors->second.values[i / 2];
      const double a = heads[head + i], b = heads[head + i + 1];
      heads[head + i] = a * std::cos(angle) - b * std::sin(angle);
      heads[head + i + 1] = a * std::sin(angle) + b * std::cos(angle);
    }
  }
}

PlainLlama::Vector PlainLlama::attend(const Vector& query, const Cache& cache) const {
  const size_t tokens = cache.keys.size();
  Vector out(query.size());
  for (size_t head = 0; head < heads_; ++head) {
    const size_t q = head * head_dim_, kv = head / (heads_ / kv_heads_) * head_dim_;
    Vector weights(tokens);
    for (size_t t = 0; t < tokens; ++t) {
      for (size_t d = 0; d < head_dim_; ++d) weights[t] += query[q + d] * cache.keys[t][kv + d];
      weights[t] /= std::sqrt(static_cast<double>(head_dim_));
    }
    const double top = *std::max_element(weights.begin(), weights.end());
    double sum = 0;
    for (double& weight : weights) sum += weight = std::exp(weight - top);
    for (size_t t = 0; t < tokens; ++t) {
      for (size_t d = 0; d < head_dim_; ++d) out[q + d] += weights[t] / sum * cache.values[t][kv + d];
    }
  }
  return out;
}

void PlainLlama::run_layer(const std::string& prefix, size_t position, Cache& cache, Vector& x) const {
  const Vector normal = normalize(prefix + "attn_norm.weight", x);
  Vector query = multiply(prefix + "attn_q", normal), key = multiply(prefix + "attn_k", normal);
  rotate(query, position);
  rotate(key, position);
  cache.keys.push_back(key);
  cache.values.push_back(multiply(prefix + "attn_v", normal));
  const Vector attended = multiply(prefix + "attn_output", attend(query, cache));
  for (size_t i = 0; i < x.size(); ++i) x[i] += attended[i];

  const Vector middle = normalize(prefix + "ffn_norm.weight", x);
  Vector gate = multiply(prefix + "ffn_gate", middle);
  const Vector up = multiply(prefix + "ffn_up", middle);
  for (size_t i = 0; i < gate.size(); ++i) gate[i] = gate[i] / (1 + std::exp(-gate[i])) * up[i];
  const Vector down = multiply(prefix + "ffn_down", gate);
  for (size_t i = 0; i < x.size(); ++i) x[i] += down[i];
}

std::vector<std::vector<double>> PlainLlama::logits(std::span<const TokenId> tokens) const {
  std::vector<std::vector<double>> result;
  std::vector<Cache> caches(layers_);
  const Tensor& embeddings = tensor("token_embd.weight");
  for (size_t position = 0; position < tokens.size(); ++position) {
    const auto row = embeddings.values.begin() +
                     static_cast<std::ptrdiff_t>(static_cast<size_t>(tokens[position]) * embeddings.cols);
    Vector x(row, row + static_cast<std::ptrdiff_t>(embeddings.cols));
    for (size_t layer = 0; layer < layers_; ++layer) {
      run_layer("blk." + std::to_string(layer) + ".", position, caches[layer], x);
    }
    const bool tied = !tensors_.contains("output.weight");
    result.push_back(multiply(tied ? "token_embd" : "output", normalize("output_norm.weight", x)));
  }
  return result;
}

}  // namespace infer::testing
