// Matrix products over all shapes and places: every count of tokens, every tail of rows and columns, ranges of panels
// and tokens, unaligned inputs and outputs, and nothing written beside what was asked for. The definition is the scalar
// table's product of one token at a time, which matmul_test.cc holds against doubles; the bits must be the same.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "base/rng.h"
#include "kernels/kernel_table.h"
#include "kernels/panels.h"
#include "kernels/reference.h"
#include "os/page_memory.h"
#include "testing/machine_kernels.h"
#include "testing/property.h"

namespace infer::kernels {
namespace {

constexpr float kUntouched = -777.25f;

// All that the build knows, so that a new type is covered without being listed here.
std::vector<WeightType> all_types() {
  std::vector<WeightType> types;
  for (uint32_t id = 0; id < 256; ++id) {
    if (weight_type_info(id) != nullptr) types.push_back(static_cast<WeightType>(id));
  }
  return types;
}

int block_elems(WeightType type) {
  return static_cast<int>(weight_type_info(static_cast<uint32_t>(type))->block_elems);
}
std::string name_of(WeightType type) { return weight_type_info(static_cast<uint32_t>(type))->name; }

std::vector<float> random_floats(Rng& rng, size_t n) {
  std::vector<float> x(n);
  for (float& value : x) value = static_cast<float>((rng.uniform() + rng.uniform() + rng.uniform() - 1.5) * 3);
  return x;
}

// The file's rows, `odd` bytes off any alignment.
struct Matrix {
  WeightType type;
  int rows, cols;
  std::vector<std::byte> bytes;
  size_t odd;
  const std::byte* file() const { return bytes.data() + odd; }
};

Matrix random_matrix(Rng& rng, WeightType type, int rows, int cols, size_t odd = 0) {
  const size_t row = row_bytes(type, cols);
  Matrix m{type, rows, cols, std::vector<std::byte>(row * static_cast<size_t>(rows) + odd), odd};
  std::vector<std::byte> one(row);
  for (int r = 0; r < rows; ++r) {
    quantize_row(type, random_floats(rng, static_cast<size_t>(cols)).data(), cols, one.data());
    std::copy(one.begin(), one.end(), m.bytes.data() + odd + static_cast<size_t>(r) * row);
  }
  return m;
}

// A matrix packed by one table, in two calls when there are enough panels.
class PackedMatrix {
 public:
  PackedMatrix(const KernelTable& table, const Matrix& m) : m_(m) {
    memory_ = std::move(os::PageMemory::allocate(packed_bytes(m.type, m.rows, m.cols)).value());
    const int panels = panel_count(m.rows), cut = panels / 2;
    table.pack_panels(m.type, m.file(), m.rows, m.cols, cut, panels, memory_.data());
    if (cut > 0) table.pack_panels(m.type, m.file(), m.rows, m.cols, 0, cut, memory_.data());
  }
  Panels panels() const { return {m_.type, m_.rows, m_.cols, memory_.data()}; }

 private:
  const Matrix& m_;
  os::PageMemory memory_;
};

// What one call is asked to compute and where it writes: a float behind any vector boundary, rows further apart than
// they need be.
struct Call {
  int tokens;
  int panel_begin, panel_end;
  int token_begin, token_end;
  bool accumulate = false;
  WeightStream stream = WeightStream::kThroughL2;
};

struct Output {
  size_t stride;
  std::vector<float> storage;
  float* at(int token, int row) {
    return storage.data() + 1 + static_cast<size_t>(token) * stride + static_cast<size_t>(row);
  }
};

// x is [tokens][cols].
Output multiply(const KernelTable& table, const PackedMatrix& packed, const std::vector<float>& x, const Call& call,
                float start = kUntouched) {
  const Panels weights = packed.panels();
  const bool int8 = uses_int8_inputs(weights.type);
  const auto cols = static_cast<size_t>(weights.cols);
  const os::PageMemory buffer =
      std::move(os::PageMemory::allocate(activation_bytes(int8, call.tokens, weights.cols)).value());
  const Activations inputs = activation_view(buffer.data(), int8, call.tokens, weights.cols);
  std::vector<float> shifted(cols + 1);  // Inputs need no alignment either.
  for (int t = 0; t < call.tokens; ++t) {
    std::copy_n(x.begin() + static_cast<std::ptrdiff_t>(static_cast<size_t>(t) * cols), cols, shifted.begin() + 1);
    (int8 ? table.pack_int8 : table.pack_f32)(shifted.data() + 1, t, inputs);
  }
  const os::PageMemory scratch = std::move(os::PageMemory::allocate(matmul_scratch_bytes(weights.cols)).value());
  const size_t stride = static_cast<size_t>(panel_count(weights.rows) * kPanelRows) + 3;
  Output out{stride, std::vector<float>(stride * static_cast<size_t>(call.tokens) + 2, start)};
  table.matmul({.weights = weights,
                .inputs = inputs,
                .panel_begin = call.panel_begin,
                .panel_end = call.panel_end,
                .token_begin = call.token_begin,
                .token_end = call.token_end,
                .out = out.at(0, 0),
                .out_stride = stride,
                .accumulate = call.accumulate,
                .scratch = scratch.data(),
                .stream = call.stream});
  return out;
}

Call whole(const Matrix& m, int tokens) { return {tokens, 0, panel_count(m.rows), 0, tokens}; }

// The definition: [tokens][rows, padding too], one token at a time by the scalar table.
std::vector<float> one_by_one(const Matrix& m, const std::vector<float>& x, int tokens, const float* start = nullptr) {
  const KernelTable& scalar = *testing::machine_kernels().back();
  const PackedMatrix packed(scalar, m);
  std::vector<float> expected;
  for (int t = 0; t < tokens; ++t) {
    const std::vector<float> token(x.begin() + t * m.cols, x.begin() + (t + 1) * m.cols);
    Call call = whole(m, 1);
    call.accumulate = start != nullptr;
    Output out = multiply(scalar, packed, token, call, start != nullptr ? *start : kUntouched);
    expected.insert(expected.end(), out.at(0, 0), out.at(0, 0) + panel_count(m.rows) * kPanelRows);
  }
  return expected;
}

// Rows asked for have the expected bits (padding rows too: their weights are zero), all others are as they were.
void expect_output(const Matrix& m, const Call& call, Output out, const std::vector<float>& expected, float start,
                   const std::string& what) {
  const int padded = panel_count(m.rows) * kPanelRows;
  std::vector<float> wanted(out.storage.size(), start);
  for (int t = call.token_begin; t < call.token_end; ++t) {
    for (int r = call.panel_begin * kPanelRows; r < call.panel_end * kPanelRows; ++r) {
      wanted[1 + static_cast<size_t>(t) * out.stride + static_cast<size_t>(r)] =
          expected[static_cast<size_t>(t * padded + r)];
    }
  }
  for (size_t i = 0; i < wanted.size(); ++i) {
    ASSERT_EQ(std::memcmp(&out.storage[i], &wanted[i], sizeof(float)), 0)
        << what << ": " << out.storage[i] << " instead of " << wanted[i] << " at token " << (i - 1) / out.stride
        << ", row " << (i - 1) % out.stride << " of " << m.rows << " x " << m.cols << ", " << call.tokens << " tokens";
  }
}

TEST(MatmulShapes, EveryCountOfTokensGivesEachTokenItsOwnBits) {
  constexpr int kTokens = 40;
  Rng rng(testing::property_seed(1));
  for (const WeightType type : all_types()) {
    const Matrix m = random_matrix(rng, type, 33, block_elems(type) == 1 ? 70 : std::max(64, block_elems(type)));
    const std::vector<float> x = random_floats(rng, static_cast<size_t>(kTokens * m.cols));
    const std::vector<float> expected = one_by_one(m, x, kTokens);
    for (const KernelTable* table : testing::machine_kernels()) {
      const PackedMatrix packed(*table, m);
      for (int tokens = 1; tokens <= kTokens; ++tokens) {
        const Call call = whole(m, tokens);
        expect_output(m, call, multiply(*table, packed, x, call), expected, kUntouched,
                      std::string(table->name) + " " + name_of(type));
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST(MatmulShapes, EveryTailOfRowsAndColumns) {
  Rng rng(testing::property_seed(2));
  for (const WeightType type : all_types()) {
    const int unit = block_elems(type);
    for (int i = 1; i <= 35; ++i) {
      const int rows = i, cols = unit == 1 ? i : unit * (i % 9 + 1);
      const Matrix m = random_matrix(rng, type, rows, cols, static_cast<size_t>(i % 3));
      const int tokens = 1 + static_cast<int>(rng.below(20));
      const std::vector<float> x = random_floats(rng, static_cast<size_t>(tokens * cols));
      const std::vector<float> expected = one_by_one(m, x, tokens);
      for (const KernelTable* table : testing::machine_kernels()) {
        const PackedMatrix packed(*table, m);
        const Call call = whole(m, tokens);
        expect_output(m, call, multiply(*table, packed, x, call), expected, kUntouched,
                      std::string(table->name) + " " + name_of(type));
        if (HasFatalFailure()) return;
      }
    }
  }
}

// Long rows are computed in blocks of columns that fit the caches: around their edges.
TEST(MatmulShapes, LongRows) {
  Rng rng(testing::property_seed(3));
  for (const WeightType type : all_types()) {
    const int unit = block_elems(type);
    for (const int about : {1023, 1024, 1025, 2048, 3100}) {
      const int cols = std::max(1, about / unit) * unit;
      const Matrix m = random_matrix(rng, type, 17, cols);
      constexpr int kTokens = 14;
      const std::vector<float> x = random_floats(rng, static_cast<size_t>(kTokens * cols));
      const std::vector<float> expected = one_by_one(m, x, kTokens);
      for (const KernelTable* table : testing::machine_kernels()) {
        const Call call = whole(m, kTokens);
        expect_output(m, call, multiply(*table, PackedMatrix(*table, m), x, call), expected, kUntouched,
                      std::string(table->name) + " " + name_of(type));
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST(MatmulShapes, OnlyTheAskedPanelsAndTokensAreWritten) {
  testing::for_each_case(12, [](Rng& rng) {
    for (const WeightType type : all_types()) {
      const Matrix m =
          random_matrix(rng, type, 16 * 4 + 5, block_elems(type) == 1 ? 37 : std::max(32, block_elems(type)));
      const int tokens = 1 + static_cast<int>(rng.below(40));
      const std::vector<float> x = random_floats(rng, static_cast<size_t>(tokens * m.cols));
      const float start = 0.75f;
      const bool accumulate = rng.below(2) == 0;
      const std::vector<float> expected = one_by_one(m, x, tokens, accumulate ? &start : nullptr);
      const int panel_begin = static_cast<int>(rng.below(5));
      const int panel_end = panel_begin + 1 + static_cast<int>(rng.below(static_cast<uint32_t>(5 - panel_begin)));
      for (const KernelTable* table : testing::machine_kernels()) {
        const int tiles = (tokens + table->token_tile - 1) / table->token_tile;
        const int token_begin = static_cast<int>(rng.below(static_cast<uint32_t>(tiles))) * table->token_tile;
        const int token_end =
            token_begin + 1 + static_cast<int>(rng.below(static_cast<uint32_t>(tokens - token_begin)));
        // A range ends with a tile or with the batch.
        const int tile_end = (token_end + table->token_tile - 1) / table->token_tile * table->token_tile;
        const WeightStream stream = rng.below(2) == 0 ? WeightStream::kPastL2 : WeightStream::kThroughL2;
        const Call call{tokens, panel_begin, panel_end, token_begin, std::min(tile_end, tokens), accumulate, stream};
        expect_output(m, call, multiply(*table, PackedMatrix(*table, m), x, call, start), expected, start,
                      std::string(table->name) + " " + name_of(type));
        if (::testing::Test::HasFatalFailure()) return;
      }
    }
  });
}

TEST(MatmulShapes, PackedWeightsAreTheSameBytesOnEveryInstructionSet) {
  Rng rng(testing::property_seed(4));
  for (const WeightType type : all_types()) {
    const Matrix m = random_matrix(rng, type, 41, block_elems(type) == 1 ? 67 : 2 * std::max(32, block_elems(type)), 1);
    const PackedMatrix expected(*testing::machine_kernels().back(), m);
    for (const KernelTable* table : testing::machine_kernels()) {
      const PackedMatrix packed(*table, m);
      EXPECT_EQ(std::memcmp(packed.panels().data, expected.panels().data, packed_bytes(type, m.rows, m.cols)), 0)
          << table->name << " " << name_of(type);
    }
  }
}

}  // namespace
}  // namespace infer::kernels
