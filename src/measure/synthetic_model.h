// Models of real shapes with random weights, for measuring speed and memory without downloading anything. They compute
// as much as the real ones and say nothing sensible: no vocabulary (tokenizer.ggml.model = "none").
//
// Weights are random blocks of the asked type with a standard deviation of 0.5 / sqrt(row length), mean near zero, so
// that activations stay in a normal range. The token embeddings of quantized types below 5 bits but Q4_1 are q6_K, as
// quantizers do it. The same options give the same bytes on every machine.
// Thread safety: pure but for the sink.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/call_context.h"
#include "base/result.h"
#include "gguf/byte_sink.h"
#include "gguf/writer.h"

namespace infer::measure {

struct SyntheticModelOptions {
  std::string shape;  // One of synthetic_shape_names().
  std::string type;   // One of synthetic_type_names(), any case.
  uint64_t seed = 1;
  int context = 131072;  // Written down as the context length; costs nothing here.
};

std::vector<std::string> synthetic_shape_names();
std::vector<std::string> synthetic_type_names();

class SyntheticModel {
 public:
  // kInvalidArgument for an unknown shape or type, or a type whose blocks do not fit the shape's rows.
  static Result<SyntheticModel> make(const SyntheticModelOptions& options);

  uint64_t file_bytes() const { return file_bytes_; }

  // Writes the file; `progress` (may be empty) is called with the bytes done so far.
  Status write(gguf::ByteSink& sink, const CallContext& call, const std::function<void(uint64_t)>& progress) const;

 private:
  struct TensorPlan {
    std::string name;
    kernels::WeightType type;
    std::vector<uint64_t> dims;
  };
  SyntheticModel() = default;
  Result<gguf::Writer> declare() const;
  void plan_tensors(kernels::WeightType type);
  void plan_attention(const std::string& prefix, kernels::WeightType type);
  void plan_experts(const std::string& prefix, kernels::WeightType type);
  Status write_tensor(const TensorPlan& tensor, uint64_t seed, gguf::TensorDataWriter& data, const CallContext& call,
                      const std::function<void(uint64_t)>& progress, uint64_t* done) const;

  SyntheticModelOptions options_;
  size_t shape_ = 0;
  uint32_t file_type_ = 0;
  std::vector<TensorPlan> tensors_;
  uint64_t file_bytes_ = 0;
};

}  // namespace infer::measure
