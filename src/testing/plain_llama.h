// The Llama forward pass as straight loops in double precision: the definition that the real one is held against,
// keys and values included.
// Thread safety: const.
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "gguf/file.h"

namespace infer::testing {

class PlainLlama {
 public:
  // The file is a good model of the llama architecture.
  explicit PlainLlama(const gguf::File& file);

  // Logits after each token: [tokens][vocabulary].
  std::vector<std::vector<double>> logits(std::span<const TokenId> tokens) const;

 private:
  using Vector = std::vector<double>;
  struct Tensor {
    size_t cols = 0;
    Vector values;
  };
  struct Cache {
    std::vector<Vector> keys, values;  // By token.
  };

  double number(std::string_view key, double fallback) const;
  const Tensor& tensor(const std::string& name) const { return tensors_.at(name); }
  Vector multiply(const std::string& stem, const Vector& x) const;
  Vector normalize(const std::string& name, const Vector& x) const;
  void rotate(Vector& heads, size_t position) const;
  Vector attend(const Vector& query, const Cache& cache) const;
  void run_layer(const std::string& prefix, size_t position, Cache& cache, Vector& x) const;

  std::map<std::string, double, std::less<>> numbers_;
  std::map<std::string, Tensor> tensors_;
  size_t heads_, kv_heads_, head_dim_, rope_dims_, layers_;
};

}  // namespace infer::testing
