// Which tensor of a GGUF file is which weight: found by name, with every shape checked against the config, before a
// byte of them is read.
//
// Files that fuse matrices (queries, keys and values; gate and up) or stack them (experts) are taken apart: a matrix or
// a vector is a run of rows of a tensor.
// Invariants after find_tensors: matrices are [cols, rows] as the config says and vectors as long; every tensor of the
// file is used (an unknown one would mean an answer that is silently wrong).
// Ownership: borrows the file. Thread safety: a plain value.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "gguf/file.h"
#include "model/model_config.h"

namespace infer::model {

struct VectorTensor {
  const gguf::Tensor* source = nullptr;  // Null: there is none.
  int begin = 0;                         // Which of its elements.
  int count = 0;
};

struct MatrixTensor {
  const gguf::Tensor* weight = nullptr;  // Null: there is none.
  VectorTensor bias;
  int rows = 0;
  int cols = 0;
  int first_row = 0;  // Of the tensor.
};

inline bool is_absent(const MatrixTensor& matrix) { return matrix.weight == nullptr; }

struct NormTensor {
  VectorTensor weight, bias;
};

// One feed-forward.
struct ExpertTensors {
  MatrixTensor gate, up, down;
};

struct LayerTensors {
  NormTensor attention_norm, attention_post_norm;
  NormTensor query_norm, key_norm;
  VectorTensor sinks;  // By head.
  NormTensor ffn_norm, ffn_post_norm;
  MatrixTensor query, key, value, attention_output;
  ExpertTensors dense;
  MatrixTensor router;  // Of the experts; without any, all of the feed-forward is dense.
  std::vector<ExpertTensors> experts;
};

struct ModelTensors {
  const gguf::Tensor* embeddings = nullptr;
  const gguf::Tensor* positions = nullptr;  // Null: not learned.
  VectorTensor rope_factors, rope_factors_long, rope_factors_short;
  NormTensor output_norm;
  MatrixTensor output;  // The embeddings where the file has no own output matrix.
  std::vector<LayerTensors> layers;

  uint64_t weights_bytes() const;  // What load_weights will allocate.
};

// kCorrupt: a tensor is missing or has another shape; kUnsupported: one that this architecture does not know.
Result<ModelTensors> find_tensors(const gguf::File& file, const ModelConfig& config);

// Calls body for every matrix that a layer can have, in the order of their use; of its experts, for the first
// `experts`.
template <class Layer, class Body>
void for_each_matrix_of_layer(Layer& layer, size_t experts, Body&& body) {
  for (auto* matrix : {&layer.query, &layer.key, &layer.value, &layer.attention_output, &layer.router,
                       &layer.dense.gate, &layer.dense.up, &layer.dense.down}) {
    body(*matrix);
  }
  for (size_t i = 0; i < experts; ++i) {
    auto& expert = layer.experts[i];
    for (auto* matrix : {&expert.gate, &expert.up, &expert.down}) body(*matrix);
  }
}

// Calls body for every matrix that a model can have, the output matrix last.
template <class Tensors, class Body>
void for_each_matrix_slot(Tensors& tensors, Body&& body) {
  for (auto& layer : tensors.layers) for_each_matrix_of_layer(layer, layer.experts.size(), body);
  body(tensors.output);
}

// The same for those that this model has.
template <class Tensors, class Body>
void for_each_matrix(Tensors& tensors, Body&& body) {
  for_each_matrix_slot(tensors, [&](auto& matrix) {
    if (!is_absent(matrix)) body(matrix);
  });
}

// Calls body for every vector of floats: norms, biases, rotary factors; also for those that are not there.
template <class Tensors, class Body>
void for_each_vector(Tensors& tensors, Body&& body) {
  for (auto& layer : tensors.layers) {
    for (auto* norm : {&layer.attention_norm, &layer.attention_post_norm, &layer.query_norm, &layer.key_norm,
                       &layer.ffn_norm, &layer.ffn_post_norm}) {
      body(norm->weight);
      body(norm->bias);
    }
    body(layer.sinks);
  }
  body(tensors.output_norm.weight);
  body(tensors.output_norm.bias);
  body(tensors.rope_factors);
  body(tensors.rope_factors_long);
  body(tensors.rope_factors_short);
  for_each_matrix_slot(tensors, [&](auto& matrix) { body(matrix.bias); });
}

}  // namespace infer::model
