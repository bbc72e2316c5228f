// A loaded model with its KV pool and its buffers: load it, make sequences, run steps.
//
//   INFER_ASSIGN(auto model, Model::load(file, kernels, pool, options, call, nullptr));
//   kv::SequenceCache cache = model->make_sequence();
//   const SequenceSlice slice{&cache, tokens, last, last + 1};
//   INFER_TRY(model->run({{&slice, 1}}, call));
//   use(model->logits(0));
//
// Results of a step are the same bit for bit for any number of threads, any split of a prompt into steps and whatever
// else is in the batch, within one instruction set.
// Loading may start a thread that writes repacked weights to the cache and ends by itself.
// Ownership: borrows the file (token embeddings are read from it), the kernels and the pool; all must outlive it.
// Sequences must not outlive the model. Thread safety: one thread (the engine's); const accessors from any.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/call_context.h"
#include "base/result.h"
#include "gguf/file.h"
#include "kernels/kernel_table.h"
#include "kv/level_policy.h"
#include "kv/page_pool.h"
#include "kv/sequence_cache.h"
#include "kv/sequence_levels.h"
#include "model/model_config.h"
#include "model/step_batch.h"
#include "os/thread_pool.h"

namespace infer::model {

class RepackCache;

struct ModelOptions {
  int context = 0;            // Tokens per sequence; 0: what the model was trained for, at most 4096.
  int sequences = 1;          // How many sequences of `context` tokens the KV pool can hold.
  int tokens_per_step = 512;  // Most tokens in one step.
  int logits_per_step = 1;    // Most tokens that want logits in one step.
  kv::LevelPolicy levels{};   // What make_sequence gives its sequences.
  bool kv_floats = false;     // Pages that are not lowered hold 32 bits instead of 16.
  // Where the KV cache keeps planes that leave memory, and how much of them; "": nowhere. A folder that cannot be used
  // does not keep a model from being loaded: see spill_status().
  std::string spill_folder{};
  uint64_t spill_limit_bytes = uint64_t{4} << 30;
  uint64_t memory_limit_bytes = 0;      // Refuse to load when the estimate is above; 0: no limit.
  uint64_t memory_available_bytes = 0;  // What the machine has to give now (os); 0: unknown.
  // Where repacked weights are kept between starts; borrowed, outlives the model. Null: nowhere.
  const RepackCache* repack_cache = nullptr;
};

// Where a model's panels come from.
enum class WeightsSource { kRepacked, kCache };

// What a loaded model will take, known before anything is loaded.
struct MemoryEstimate {
  uint64_t weights_bytes = 0;
  uint64_t kv_bytes = 0;       // With every sequence at its full context, at the levels of ModelOptions::levels.
  uint64_t buffers_bytes = 0;  // Activations, logits, scratch.
  uint64_t total() const { return weights_bytes + kv_bytes + buffers_bytes; }
};

// Called with 0..1 while weights are repacked, on the loading thread; may be empty.
using LoadProgress = std::function<void(double fraction)>;

class Model {
 public:
  // kUnsupported / kCorrupt: the file is not a model that this build can run, with the key or tensor named.
  // kInvalidArgument: an option out of range. kExhausted: does not fit, with the numbers and what to change.
  static Result<std::unique_ptr<Model>> load(const gguf::File& file, const kernels::KernelTable& kernels,
                                             os::ThreadPool& pool, const ModelOptions& options, const CallContext& call,
                                             const LoadProgress& progress);
  // The same checks and numbers as load, without loading.
  static Result<MemoryEstimate> estimate(const gguf::File& file, int threads, const ModelOptions& options);

  ~Model();
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  const ModelConfig& config() const;
  const ModelOptions& options() const;  // With defaults filled in: context is the real one.
  const MemoryEstimate& memory() const;
  const kernels::KernelTable& kernels() const;
  // The repacked matrices as they lie in memory, in the order of their use.
  std::span<const std::byte> weight_panels() const;
  int threads() const;
  kv::PagePool& page_pool();
  // Why the KV cache cannot spill to the folder that was asked for, if it cannot.
  const Status& spill_status() const;
  // What is known of how the model bears lower levels of its KV cache; nothing until it is set. Sequences follow at
  // once. floors: of each layer, or empty.
  const kv::LevelModel& level_model() const;
  void set_level_sensitivity(std::vector<kv::Level> floors, std::optional<double> loss_to_divergence,
                             std::optional<double> seen_to_divergence);

  // What sequences made from now on do with their pages.
  void set_levels(const kv::LevelPolicy& levels);

  // An empty sequence; its pages come from page_pool() as it grows.
  kv::SequenceCache make_sequence();

  // Appends the tokens of the batch to their caches and computes the wanted logits. On an error (kInvalidArgument: a
  // token outside the vocabulary, too many tokens, past the context; kExhausted: no pages; kDeadline, kCancelled:
  // observed between layers) no cache changed.
  Status run(const StepBatch& batch, const CallContext& call);
  // The same, with somebody else to say when to stop, in place of a call. now: when the step begins.
  Status run(const StepBatch& batch, StepWatch& watch, Instant now);
  // Logits of the row-th token that wanted them in the last successful run, in order of the batch: [vocabulary].
  std::span<const float> logits(int row) const;

  // Bytes that the decode step of one token must read when `depth` tokens are in the cache: weights and KV.
  uint64_t bytes_per_token(int depth) const;
  // Multiplications and additions of the matrix products for one token (with `logits`, the output matrix too).
  uint64_t operations_per_token(bool logits) const;
  // Those of them that are done in floats, because the weights are.
  uint64_t float_operations_per_token(bool logits) const;

  WeightsSource weights_source() const;
  // Weights of a cache file are mapped, and move into huge pages of memory in the background. Waits until they have,
  // for who wants to measure; what it could not move stays mapped, and the status says why.
  Status finish_settling_weights(const CallContext& call);
  // Whether the repacked weights are being written to the cache, in the background.
  bool storing_weights() const;
  // Waits until they are, or gives it up when `call` says stop. Why it failed, if it did; Ok where nothing was to do.
  Status finish_storing_weights(const CallContext& call);

 private:
  struct State;
  explicit Model(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace infer::model
