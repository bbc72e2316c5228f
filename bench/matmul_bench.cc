// Matrix products for every weight type: few tokens stream the weights from memory (bytes), many compute (ops).
#include <cmath>
#include <cstring>
#include <vector>

#include "kernel_benchmarks.h"
#include "kernels/panels.h"
#include "kernels/reference.h"

namespace infer::bench {
namespace {

using kernels::KernelTable;
using kernels::WeightType;

constexpr uint32_t kTypeIdsMax = 256;
constexpr int kStreamedTokensMax = 16;

struct Shape {
  int rows, cols;
};

Shape shape_of(WeightType type, int tokens, Size size) {
  if (size == Size::kSmoke) return {32, 256};
  constexpr int kCols = 2048;
  if (tokens > kStreamedTokensMax) return {2048, kCols};
  constexpr size_t kFar = size_t{64} << 20;  // More than the caches hold.
  return {static_cast<int>(kFar / kernels::row_bytes(type, kCols) / 16 * 16), kCols};
}

// A packed matrix whose rows are all alike: to the speed the values do not matter.
os::PageMemory packed_matrix(const KernelTable& table, WeightType type, Shape shape) {
  std::vector<float> values(static_cast<size_t>(shape.cols));
  for (size_t i = 0; i < values.size(); ++i) values[i] = std::sin(static_cast<float>(i) * 0.7f);
  const size_t row_bytes = kernels::row_bytes(type, shape.cols);
  std::vector<std::byte> panel(row_bytes * kernels::kPanelRows);
  kernels::quantize_row(type, values.data(), shape.cols, panel.data());
  for (size_t r = 1; r < kernels::kPanelRows; ++r) std::memcpy(&panel[r * row_bytes], panel.data(), row_bytes);
  os::PageMemory packed = memory_of(kernels::packed_bytes(type, shape.rows, shape.cols));
  table.pack_panels(type, panel.data(), kernels::kPanelRows, shape.cols, 0, 1, packed.data());
  const size_t panel_bytes = kernels::panel_bytes(type, shape.cols);
  for (int p = 1; p < kernels::panel_count(shape.rows); ++p) {
    std::memcpy(packed.data() + static_cast<size_t>(p) * panel_bytes, packed.data(), panel_bytes);
  }
  return packed;
}

void matmul(benchmark::State& state, const KernelTable& table, WeightType type, int tokens, Size size) {
  const Shape shape = shape_of(type, tokens, size);
  const os::PageMemory packed = packed_matrix(table, type, shape);
  const bool int8 = kernels::uses_int8_inputs(type);
  const os::PageMemory buffer = memory_of(kernels::activation_bytes(int8, tokens, shape.cols));
  const kernels::Activations inputs = kernels::activation_view(buffer.data(), int8, tokens, shape.cols);
  std::vector<float> x(static_cast<size_t>(shape.cols));
  for (size_t i = 0; i < x.size(); ++i) x[i] = std::cos(static_cast<float>(i));
  for (int t = 0; t < tokens; ++t) (int8 ? table.pack_int8 : table.pack_f32)(x.data(), t, inputs);
  const auto stride = static_cast<size_t>(kernels::panel_count(shape.rows) * kernels::kPanelRows);
  const os::PageMemory out = memory_of(stride * static_cast<size_t>(tokens) * sizeof(float));
  const os::PageMemory scratch = memory_of(kernels::matmul_scratch_bytes(shape.cols));
  const kernels::MatmulArgs args{.weights = {type, shape.rows, shape.cols, packed.data()},
                                 .inputs = inputs,
                                 .panel_begin = 0,
                                 .panel_end = kernels::panel_count(shape.rows),
                                 .token_begin = 0,
                                 .token_end = tokens,
                                 .out = reinterpret_cast<float*>(out.data()),
                                 .out_stride = stride,
                                 .accumulate = false,
                                 .scratch = scratch.data(),
                                 .stream = table.stream};
  for (auto _ : state) {
    table.matmul(args);
    benchmark::ClobberMemory();
  }
  count_rate(state, "bytes", static_cast<double>(kernels::packed_bytes(type, shape.rows, shape.cols)));
  count_rate(state, "ops", 2.0 * shape.rows * shape.cols * tokens);
}

}  // namespace

void register_matmul(Size size) {
  const std::vector<int> token_counts =
      size == Size::kSmoke ? std::vector<int>{1, 13} : std::vector<int>{1, 2, 4, 8, 16, 64, 512};
  for (const KernelTable* table : machine_kernels()) {
    if (!is_worth_measuring(*table, size)) continue;
    for (uint32_t id = 0; id < kTypeIdsMax; ++id) {
      const kernels::WeightTypeInfo* info = kernels::weight_type_info(id);
      if (info == nullptr) continue;
      for (const int tokens : token_counts) {
        const std::string name =
            std::string("Matmul/") + table->name + "/" + info->name + "/tokens:" + std::to_string(tokens);
        add_benchmark(name, size, [=](benchmark::State& state) { matmul(state, *table, info->type, tokens, size); });
      }
    }
  }
}

}  // namespace infer::bench
