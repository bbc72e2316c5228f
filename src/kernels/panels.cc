#include "kernels/panels.h"

#include "base/check.h"

namespace infer::kernels {

namespace {

constexpr size_t kAlignment = 64;

size_t aligned(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

// Kernels whose registers have places for more tokens than there are read what lies behind a tile's scales and sums,
// and leave it: at most the two sums of three tokens.
constexpr size_t kReadAhead = kAlignment;

// The most panels that a register tile unpacks at once, over all instruction sets.
constexpr size_t kPanelsAtOnceMax = 2;

}  // namespace

bool uses_int8_inputs(WeightType type) {
  return type != WeightType::kF32 && type != WeightType::kF16 && type != WeightType::kBF16;
}

int panel_count(int rows) { return (rows + kPanelRows - 1) / kPanelRows; }

size_t row_bytes(WeightType type, int cols) {
  const WeightTypeInfo* info = weight_type_info(static_cast<uint32_t>(type));
  INFER_CHECK(info != nullptr && static_cast<uint32_t>(cols) % info->block_elems == 0);
  return static_cast<size_t>(cols) / info->block_elems * info->block_bytes;
}

size_t panel_bytes(WeightType type, int cols) { return aligned(kPanelRows * row_bytes(type, cols)); }

size_t packed_bytes(WeightType type, int rows, int cols) {
  return static_cast<size_t>(panel_count(rows)) * panel_bytes(type, cols);
}

size_t activation_bytes(bool int8, int tokens, int cols) {
  const size_t elements = static_cast<size_t>(tokens) * static_cast<size_t>(cols);
  if (!int8) return aligned(elements * sizeof(float));
  INFER_CHECK(cols % kActivationBlock == 0);
  const size_t blocks = elements / kActivationBlock;
  return aligned(elements) + 2 * aligned(blocks * sizeof(float)) + aligned(2 * blocks * sizeof(int32_t)) + kReadAhead;
}

Activations activation_view(std::byte* buffer, bool int8, int tokens, int cols) {
  Activations view{.tokens = tokens,
                   .cols = cols,
                   .codes = nullptr,
                   .scales = nullptr,
                   .scaled_sums = nullptr,
                   .neg_sums = nullptr,
                   .values = nullptr};
  if (!int8) {
    view.values = reinterpret_cast<float*>(buffer);
    return view;
  }
  const size_t elements = static_cast<size_t>(tokens) * static_cast<size_t>(cols);
  const size_t blocks = elements / kActivationBlock;
  view.codes = reinterpret_cast<int8_t*>(buffer);
  buffer += aligned(elements);
  view.scales = reinterpret_cast<float*>(buffer);
  buffer += aligned(blocks * sizeof(float));
  view.scaled_sums = reinterpret_cast<float*>(buffer);
  buffer += aligned(blocks * sizeof(float));
  view.neg_sums = reinterpret_cast<int32_t*>(buffer);
  return view;
}

size_t matmul_scratch_bytes(int cols_max) {
  const size_t blocks = static_cast<size_t>(cols_max) / kActivationBlock + 1;
  return kPanelsAtOnceMax * blocks * kScratchBlockBytes;
}

size_t kv_page_bytes(int head_dim) {
  // Codes of keys and of values, and two scales for each token.
  return 2 * size_t{kPageTokens} * (static_cast<size_t>(head_dim) * sizeof(int16_t) + sizeof(float));
}

size_t kv_float_page_bytes(int head_dim) {
  return 2 * size_t{kPageTokens} * static_cast<size_t>(head_dim) * sizeof(float);
}

size_t kv_high_bytes(int head_dim) {
  // Half a byte for each key and value, two scales for each token, and the mean key with its scale.
  const auto dims = static_cast<size_t>(head_dim);
  return aligned(kPageTokens * dims + 2 * kPageTokens * sizeof(uint16_t) + dims * sizeof(int16_t) + sizeof(float));
}

size_t kv_low_bytes(int head_dim) { return size_t{kPageTokens} * static_cast<size_t>(head_dim); }

size_t query_row_bytes(int head_dim) {
  // Codes of 16 and of 8 bits; two scales and a sum, filled up to 16 bytes.
  return 3 * static_cast<size_t>(head_dim) + 16;
}

}  // namespace infer::kernels
