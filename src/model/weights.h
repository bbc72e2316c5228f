// The weights of a model as the kernels want them: matrices repacked into panels, norms and biases as floats.
//
// Token embeddings are decoded row by row: from the output matrix where the two are tied, else from the mapped file.
// Ownership: owns the repacked copies; borrows the file for the embeddings. Thread safety: const after loading.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "base/call_context.h"
#include "base/ids.h"
#include "base/result.h"
#include "gguf/file.h"
#include "kernels/kernel_table.h"
#include "model/model_tensors.h"
#include "os/page_memory.h"
#include "os/thread_pool.h"

namespace infer::model {

struct Matrix {
  kernels::Panels panels{};
  std::span<const float> bias;  // Empty: none.
};

struct LayerWeights {
  std::span<const float> attention_norm;
  std::span<const float> ffn_norm;
  Matrix query, key, value, attention_output;
  Matrix gate, up, down;
};

struct Weights {
  std::vector<LayerWeights> layers;
  std::span<const float> output_norm;
  std::span<const float> rope_factors;  // Rotary frequencies are divided by these; empty: none.
  Matrix output;

  const gguf::Tensor* embeddings = nullptr;
  // The output matrix is the embeddings. Its panels are in memory anyway; a row read from the file would make the
  // system map the 64 kB around it, a second copy of most of the matrix after a few thousand different tokens.
  bool tied = false;
  os::PageMemory panel_memory;
  std::vector<float> floats;

  // Decodes the embedding of a token to out[cols].
  void embed(TokenId token, float* out) const;
};

// Repacks everything once. Parts of the file that were read leave resident memory on the way, so that the peak is the
// size of the weights and a little. kDeadline, kCancelled; kExhausted when the system has no memory.
Result<Weights> load_weights(const gguf::File& file, const ModelTensors& tensors, const kernels::KernelTable& kernels,
                             os::ThreadPool& pool, const CallContext& call,
                             const std::function<void(double fraction)>& progress);

}  // namespace infer::model
