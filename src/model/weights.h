// The weights of a model as the kernels want them: matrices repacked into panels, norms and biases as floats.
//
// Token embeddings are decoded row by row: from the output matrix where the two are tied, else from the mapped file.
// Ownership: owns the repacked copies or the mapped cache file; borrows the file for the embeddings. Thread safety:
// const after loading.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "base/call_context.h"
#include "base/ids.h"
#include "base/result.h"
#include "gguf/file.h"
#include "kernels/kernel_table.h"
#include "model/model_tensors.h"
#include "model/repack_cache.h"
#include "os/file_map.h"
#include "os/page_memory.h"
#include "os/thread_pool.h"

namespace infer::model {

struct Matrix {
  kernels::Panels panels{};     // No rows: there is no such matrix.
  std::span<const float> bias;  // Empty: none.
};

inline bool is_absent(const Matrix& matrix) { return matrix.panels.rows == 0; }

struct Norm {
  std::span<const float> weight;  // Empty: the vector stays as it is.
  std::span<const float> bias;    // Empty: none.
};

// One feed-forward.
struct ExpertWeights {
  Matrix gate, up, down;
};

struct LayerWeights {
  Norm attention_norm, attention_post_norm;
  Norm query_norm, key_norm;
  std::span<const float> sinks;  // By head; empty: none.
  Norm ffn_norm, ffn_post_norm;
  Matrix query, key, value, attention_output;
  ExpertWeights dense;
  Matrix router;  // Of the experts; without any, all of the feed-forward is dense.
  std::vector<ExpertWeights> experts;
};

struct Weights {
  std::vector<LayerWeights> layers;
  Norm output_norm;
  // Rotary frequencies are divided by these; empty: none.
  std::span<const float> rope_factors, rope_factors_long, rope_factors_short;
  Matrix output;

  const gguf::Tensor* embeddings = nullptr;
  const gguf::Tensor* positions = nullptr;  // Learned ones, by row. Null: none.
  // The output matrix is the embeddings. Its panels are in memory anyway; a row read from the file would make the
  // system map the 64 kB around it, a second copy of most of the matrix after a few thousand different tokens.
  bool tied = false;
  std::span<const std::byte> panels;      // Of all matrices, in the order of their use.
  os::PageMemory panel_memory;            // Where they are; empty where the panels are those of a cache file,
  std::optional<os::FileMap> panel_file;  // which is this.
  std::vector<float> floats;

  // Set when the panels were repacked and should be kept: what to store them as.
  std::optional<RepackCache::Key> to_store;

  // Decodes the embedding of a token, or of a position where those are learned, to out[cols].
  void embed(TokenId token, float* out) const;
  void embed_position(int position, float* out) const;
};

// Repacks everything once, or takes what `cache` (may be null) has of an earlier time. Parts of the file that were read
// leave resident memory on the way, so that the peak is the size of the weights and a little. kDeadline, kCancelled;
// kExhausted when the system has no memory.
Result<Weights> load_weights(const gguf::File& file, const ModelTensors& tensors, const kernels::KernelTable& kernels,
                             os::ThreadPool& pool, const CallContext& call, const RepackCache* cache,
                             const std::function<void(double fraction)>& progress);

}  // namespace infer::model
