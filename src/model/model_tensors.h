// Which tensor of a GGUF file is which weight: found by name, with every shape checked against the config, before a
// byte of them is read.
//
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

struct MatrixTensor {
  const gguf::Tensor* weight = nullptr;
  const gguf::Tensor* bias = nullptr;  // Null: none.
  int rows = 0;
  int cols = 0;
};

struct LayerTensors {
  const gguf::Tensor* attention_norm = nullptr;
  const gguf::Tensor* ffn_norm = nullptr;
  MatrixTensor query, key, value, attention_output;
  MatrixTensor gate, up, down;
};

struct ModelTensors {
  const gguf::Tensor* embeddings = nullptr;
  const gguf::Tensor* rope_factors = nullptr;  // Null: none.
  const gguf::Tensor* output_norm = nullptr;
  MatrixTensor output;  // The embeddings where the file has no own output matrix.
  std::vector<LayerTensors> layers;

  uint64_t weights_bytes() const;  // What load_weights will allocate.
};

// kCorrupt: a tensor is missing or has another shape; kUnsupported: one that this architecture does not know.
Result<ModelTensors> find_tensors(const gguf::File& file, const ModelConfig& config);

// Calls body for every matrix of the model, in the order of the file's layers, the output matrix last.
template <class Tensors, class Body>
void for_each_matrix(Tensors& tensors, Body&& body) {
  for (auto& layer : tensors.layers) {
    for (auto* matrix :
         {&layer.query, &layer.key, &layer.value, &layer.attention_output, &layer.gate, &layer.up, &layer.down}) {
      body(*matrix);
    }
  }
  body(tensors.output);
}

// Calls body for every vector of floats: norms, biases, rotary factors. Null where there is none.
template <class Tensors, class Body>
void for_each_vector(Tensors& tensors, Body&& body) {
  for (auto& layer : tensors.layers) {
    body(layer.attention_norm);
    body(layer.ffn_norm);
  }
  body(tensors.output_norm);
  body(tensors.rope_factors);
  for_each_matrix(tensors, [&](auto& matrix) { body(matrix.bias); });
}

}  // namespace infer::model
