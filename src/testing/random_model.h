// Small Llama and gpt-oss models with random weights, as the bytes of a GGUF file, and what can be wrong with them.
// Thread safety: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "kernels/block_formats.h"

namespace infer::testing {

struct RandomModel {
  std::string architecture = "llama";  // Or "gpt-oss", which has experts, sinks and windows.
  int layers = 2;
  int width = 64;
  int heads = 4;
  int kv_heads = 2;
  int head_dim = 16;
  int ffn_width = 96;
  int vocabulary = 80;
  int context = 2048;
  int rope_dims = 0;          // 0: the key is left out, all of the head rotates.
  float linear_factor = 0;    // 0: no scaling.
  bool rope_factors = false;  // As in Llama 3.
  bool tied = true;
  bool biases = false;
  int experts = 0;  // 0: a dense feed-forward.
  int experts_used = 2;
  int window = 0;                                        // gpt-oss: of the layers with a window, in tokens;
  int window_period = 2;                                 // each such layer has none.
  kernels::WeightType type = kernels::WeightType::kF32;  // Of the matrices; vectors are F32.
  uint64_t seed = 1;

  // Departures from a good file.
  std::map<std::string, uint32_t> integers{};  // Metadata set to this, or added.
  std::map<std::string, float> floats{};
  std::map<std::string, std::string> strings{};
  std::set<std::string> without{};                      // Metadata keys and tensors left out.
  std::map<std::string, std::vector<uint64_t>> dims{};  // Tensors written, or added, with these dimensions.
};

std::vector<std::byte> write_model(const RandomModel& model);

}  // namespace infer::testing
