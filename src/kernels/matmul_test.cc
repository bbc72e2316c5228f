#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <string>
#include <vector>

#include "base/rng.h"
#include "kernels/kernel_table.h"
#include "kernels/packed_row.h"
#include "kernels/panels.h"
#include "kernels/reference.h"
#include "testing/machine_kernels.h"
#include "testing/property.h"

namespace infer::kernels {
namespace {

constexpr WeightType kAllTypes[] = {WeightType::kF32,  WeightType::kF16,    WeightType::kBF16,   WeightType::kQ4_0,
                                    WeightType::kQ4_1, WeightType::kQ5_0,   WeightType::kQ5_1,   WeightType::kQ8_0,
                                    WeightType::kQ2_K, WeightType::kQ3_K,   WeightType::kQ4_K,   WeightType::kQ5_K,
                                    WeightType::kQ6_K, WeightType::kIQ4_NL, WeightType::kIQ4_XS, WeightType::kMXFP4};

template <class T>
class Aligned {
 public:
  explicit Aligned(size_t bytes) : storage_(bytes + 64) {
    const auto address = reinterpret_cast<uintptr_t>(storage_.data());
    data_ = reinterpret_cast<T*>((address + 63) / 64 * 64);
  }
  T* data() { return data_; }

 private:
  std::vector<std::byte> storage_;
  T* data_;
};

std::vector<float> random_floats(Rng& rng, size_t n, double scale) {
  std::vector<float> x(n);
  for (float& value : x) value = static_cast<float>((rng.uniform() + rng.uniform() + rng.uniform() - 1.5) * scale);
  return x;
}

const char* type_name(WeightType type) { return weight_type_info(static_cast<uint32_t>(type))->name; }

// A weight matrix in the file's form, and what its weights are worth.
struct Matrix {
  WeightType type;
  int rows, cols;
  std::vector<std::byte> file;
  std::vector<float> values;
};

Matrix random_matrix(Rng& rng, WeightType type, int rows, int cols) {
  Matrix m{type, rows, cols, {}, {}};
  const size_t bytes = row_bytes(type, cols);
  m.file.resize(bytes * static_cast<size_t>(rows));
  m.values.resize(static_cast<size_t>(rows) * static_cast<size_t>(cols));
  for (int r = 0; r < rows; ++r) {
    const std::vector<float> row = random_floats(rng, static_cast<size_t>(cols), 1.0 + rng.uniform());
    quantize_row(type, row.data(), cols, m.file.data() + static_cast<size_t>(r) * bytes);
    dequantize_row(type, m.file.data() + static_cast<size_t>(r) * bytes, cols,
                   m.values.data() + static_cast<size_t>(r) * static_cast<size_t>(cols));
  }
  return m;
}

// The inputs as the kernels are allowed to see them: rounded to 127 steps of each block's largest magnitude.
std::vector<double> rounded_inputs(const std::vector<float>& x, bool int8) {
  std::vector<double> rounded(x.begin(), x.end());
  if (!int8) return rounded;
  for (size_t b = 0; b < x.size(); b += 32) {
    float largest = 0;
    for (size_t i = b; i < b + 32; ++i) largest = std::max(largest, std::fabs(x[i]));
    const float inverse = largest > 0 ? 127.0f / largest : 0.0f;
    for (size_t i = b; i < b + 32; ++i) {
      rounded[i] = static_cast<double>(std::nearbyint(x[i] * inverse)) * static_cast<double>(largest / 127.0f);
    }
  }
  return rounded;
}

// Packs and multiplies: all tokens at once, or in two calls split at `split` (a multiple of the tile).
std::vector<float> product(const KernelTable& k, const Matrix& m, const std::vector<float>& x, int tokens, int split,
                           bool panel_by_panel, const std::vector<float>* start) {
  const int panels = panel_count(m.rows);
  Aligned<std::byte> packed(packed_bytes(m.type, m.rows, m.cols));
  k.pack_panels(m.type, m.file.data(), m.rows, m.cols, 0, panels, packed.data());
  const bool int8 = uses_int8_inputs(m.type);
  Aligned<std::byte> buffer(activation_bytes(int8, tokens, m.cols));
  const Activations inputs = activation_view(buffer.data(), int8, tokens, m.cols);
  for (int t = 0; t < tokens; ++t) {
    (int8 ? k.pack_int8 : k.pack_f32)(x.data() + static_cast<size_t>(t) * static_cast<size_t>(m.cols), t, inputs);
  }
  const auto stride = static_cast<size_t>(panels * kPanelRows);
  std::vector<float> out = start != nullptr ? *start : std::vector<float>(stride * static_cast<size_t>(tokens), -7.0f);
  Aligned<std::byte> scratch(matmul_scratch_bytes(m.cols));
  for (int p = 0; p < panels; p += panel_by_panel ? 1 : panels) {
    const int panel_end = panel_by_panel ? p + 1 : panels;
    for (const auto& [begin, end] : {std::pair(0, split), std::pair(split, tokens)}) {
      if (begin == end) continue;
      k.matmul({.weights = {m.type, m.rows, m.cols, packed.data()},
                .inputs = inputs,
                .panel_begin = p,
                .panel_end = panel_end,
                .token_begin = begin,
                .token_end = end,
                .out = out.data(),
                .out_stride = stride,
                .accumulate = start != nullptr,
                .scratch = scratch.data(),
                .stream = k.stream});
    }
  }
  return out;
}

void expect_close_to_reference(const KernelTable& k, const Matrix& m, const std::vector<float>& x, int tokens) {
  const std::vector<float> out = product(k, m, x, tokens, 0, false, nullptr);
  const auto stride = static_cast<size_t>(panel_count(m.rows) * kPanelRows);
  const std::vector<double> inputs = rounded_inputs(x, uses_int8_inputs(m.type));
  for (int t = 0; t < tokens; ++t) {
    for (int r = 0; r < m.rows; ++r) {
      double sum = 0, magnitude = 0;
      for (int c = 0; c < m.cols; ++c) {
        const double w = m.values[static_cast<size_t>(r) * static_cast<size_t>(m.cols) + static_cast<size_t>(c)];
        const double term = w * inputs[static_cast<size_t>(t) * static_cast<size_t>(m.cols) + static_cast<size_t>(c)];
        sum += term;
        magnitude += std::fabs(term);
      }
      // Integer dots are exact. Rounding: one addition per block or column (float epsilon 6e-8 each, error at most the
      // count times the largest partial sum), and formats with minima cancel terms of up to 16 codes against them.
      const double bound = 6e-8 * (m.cols + 64) * (magnitude * 4 + 1e-6);
      ASSERT_NEAR(out[static_cast<size_t>(t) * stride + static_cast<size_t>(r)], sum, bound)
          << k.name << " " << type_name(m.type) << " row " << r << " of " << m.rows << ", token " << t << " of "
          << tokens << ", cols " << m.cols;
    }
  }
}

TEST(Matmul, AgreesWithThePlainProductForEveryTypeIsaAndSize) {
  testing::for_each_case(1, [](Rng& rng) {
    for (const KernelTable* k : testing::machine_kernels()) {
      for (const WeightType type : kAllTypes) {
        const int unit = static_cast<int>(weight_type_info(static_cast<uint32_t>(type))->block_elems);
        for (const int rows : {1, 15, 16, 17, 50}) {
          const int cols = uses_int8_inputs(type) ? unit * (1 + static_cast<int>(rng.below(3)))
                                                  : 1 + static_cast<int>(rng.below(90));
          const Matrix m = random_matrix(rng, type, rows, cols);
          for (const int tokens : {1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 19}) {
            expect_close_to_reference(*k, m, random_floats(rng, static_cast<size_t>(tokens * cols), 3.0), tokens);
            if (HasFatalFailure()) return;
          }
        }
      }
    }
  });
}

void expect_same_bits(const std::vector<float>& a, const std::vector<float>& b, const std::string& what) {
  ASSERT_EQ(a.size(), b.size());
  ASSERT_EQ(std::memcmp(a.data(), b.data(), a.size() * sizeof(float)), 0) << what;
}

TEST(Matmul, BitsDoNotDependOnTheBatchTheSplitOrTheInstructionSet) {
  testing::for_each_case(1, [](Rng& rng) {
    for (const WeightType type : kAllTypes) {
      const int cols = 512, rows = 35, tokens = 26;
      const auto stride = static_cast<size_t>(panel_count(rows) * kPanelRows);
      const Matrix m = random_matrix(rng, type, rows, cols);
      const std::vector<float> x = random_floats(rng, static_cast<size_t>(tokens * cols), 2.0);
      const KernelTable& scalar = *testing::machine_kernels().back();
      const std::vector<float> expected = product(scalar, m, x, tokens, 0, false, nullptr);
      for (const KernelTable* k : testing::machine_kernels()) {
        const std::string what = std::string(k->name) + " " + type_name(type);
        expect_same_bits(product(*k, m, x, tokens, 0, false, nullptr), expected, what + " whole");
        expect_same_bits(product(*k, m, x, tokens, 2 * k->token_tile, true, nullptr), expected, what + " split");
        for (int t = 0; t < tokens; ++t) {
          const std::vector<float> one(x.begin() + t * cols, x.begin() + (t + 1) * cols);
          const std::vector<float> part(expected.begin() + static_cast<std::ptrdiff_t>(t * stride),
                                        expected.begin() + static_cast<std::ptrdiff_t>((t + 1) * stride));
          expect_same_bits(product(*k, m, one, 1, 0, false, nullptr), part, what + " one token");
        }
      }
    }
  });
}

// Where the half floats of a block lie (K formats have them at either end); MXFP4 has none.
std::vector<size_t> half_offsets(WeightType type) {
  switch (type) {
    case WeightType::kQ4_1:
    case WeightType::kQ5_1:
    case WeightType::kQ4_K:
    case WeightType::kQ5_K: return {0, 2};
    case WeightType::kQ2_K: return {offsetof(BlockQ2_K, d), offsetof(BlockQ2_K, dmin)};
    case WeightType::kQ3_K: return {offsetof(BlockQ3_K, d)};
    case WeightType::kQ6_K: return {offsetof(BlockQ6_K, d)};
    case WeightType::kMXFP4: return {};
    default: return {0};
  }
}

// Blocks of any bits but for the size of their scales: every code, group scale and sign, whoever quantized them.
Matrix any_block_matrix(Rng& rng, WeightType type, int rows, int cols) {
  const WeightTypeInfo& info = *weight_type_info(static_cast<uint32_t>(type));
  const size_t bytes = row_bytes(type, cols);
  Matrix m{type, rows, cols, std::vector<std::byte>(bytes * static_cast<size_t>(rows)), {}};
  for (std::byte& b : m.file) b = static_cast<std::byte>(rng.next());
  for (size_t at = 0; at < m.file.size(); at += info.block_bytes) {
    for (const size_t offset : half_offsets(type)) {
      const uint16_t half = float_to_half(static_cast<float>(2 * rng.uniform() - 1));
      std::memcpy(m.file.data() + at + offset, &half, sizeof half);
    }
    if (type == WeightType::kMXFP4) m.file[at] = static_cast<std::byte>(120 + rng.below(16));
  }
  m.values.resize(static_cast<size_t>(rows) * static_cast<size_t>(cols));
  for (size_t r = 0; r < static_cast<size_t>(rows); ++r) {
    dequantize_row(type, m.file.data() + r * bytes, cols, m.values.data() + r * static_cast<size_t>(cols));
  }
  return m;
}

TEST(Matmul, AgreesWithThePlainProductForBlocksOfAnyBits) {
  testing::for_each_case(20, [](Rng& rng) {
    for (const WeightType type : kAllTypes) {
      if (!uses_int8_inputs(type)) continue;
      const Matrix m = any_block_matrix(rng, type, 17, 256);
      for (const KernelTable* k : testing::machine_kernels()) {
        for (const int tokens : {1, 4, 13}) {
          expect_close_to_reference(*k, m, random_floats(rng, static_cast<size_t>(tokens) * 256, 3.0), tokens);
          if (HasFatalFailure()) return;
        }
      }
    }
  });
}

// Blocks of one byte in all codes, so that sums are as large as they can be, with scales of any size that halves have.
Matrix uniform_block_matrix(Rng& rng, WeightType type, std::byte code, int rows, int cols) {
  Matrix m = any_block_matrix(rng, type, rows, cols);
  std::fill(m.file.begin(), m.file.end(), code);
  for (size_t at = 0; at < m.file.size(); at += weight_type_info(static_cast<uint32_t>(type))->block_bytes) {
    for (const size_t offset : half_offsets(type)) {
      uint16_t half;
      do half = static_cast<uint16_t>(rng.next());
      while ((half >> 10 & 31) == 31);  // Neither infinite nor no number.
      std::memcpy(m.file.data() + at + offset, &half, sizeof half);
    }
    if (type == WeightType::kMXFP4) m.file[at] = static_cast<std::byte>(rng.below(240));
  }
  return m;
}

TEST(Matmul, BitsAreTheSameForTheLargestSumsAndScalesOfAnySize) {
  constexpr int kCols = 512, kRows = 33, kTokens = 26;
  testing::for_each_case(4, [](Rng& rng) {
    std::vector<float> x(static_cast<size_t>(kTokens * kCols));
    for (size_t i = 0; i < x.size(); ++i) x[i] = i / kCols % 3 == 0 ? 127.0f : i / kCols % 3 == 1 ? -127.0f : 0.0f;
    for (const WeightType type : kAllTypes) {
      if (!uses_int8_inputs(type)) continue;
      for (const int code : {0x00, 0x7F, 0x80, 0xFF}) {
        const Matrix m = uniform_block_matrix(rng, type, static_cast<std::byte>(code), kRows, kCols);
        const std::vector<float> expected =
            product(*testing::machine_kernels().back(), m, x, kTokens, 0, false, nullptr);
        for (const KernelTable* k : testing::machine_kernels()) {
          expect_same_bits(product(*k, m, x, kTokens, 0, false, nullptr), expected,
                           std::string(k->name) + " " + type_name(type) + " " + std::to_string(code));
          if (HasFatalFailure()) return;
        }
      }
    }
  });
}

TEST(Matmul, TheSmallestAndLargestMxfp4ScalesCount) {
  for (const KernelTable* k : testing::machine_kernels()) {
    for (const int exponent : {0, 1, 2, 128, 250}) {
      Matrix m{WeightType::kMXFP4, 16, 32, std::vector<std::byte>(16 * sizeof(BlockMXFP4), std::byte{0x11}), {}};
      for (size_t r = 0; r < 16; ++r) m.file[r * sizeof(BlockMXFP4)] = static_cast<std::byte>(exponent);
      // 32 weights of 2^(e - 128) times inputs of 127, which int8 holds exactly.
      const std::vector<float> out = product(*k, m, std::vector<float>(32, 127.0f), 1, 0, false, nullptr);
      EXPECT_EQ(out[0], std::ldexp(127.0f * 32.0f, exponent - 128)) << k->name << " " << exponent;
    }
  }
}

TEST(Matmul, AccumulateStartsFromWhatIsThere) {
  Rng rng(5);
  for (const KernelTable* k : testing::machine_kernels()) {
    for (const WeightType type : {WeightType::kF16, WeightType::kQ4_0}) {
      const Matrix m = random_matrix(rng, type, 48, 64);
      const std::vector<float> x = random_floats(rng, 64 * 9, 1.0);
      const std::vector<float> plain = product(*k, m, x, 9, 0, false, nullptr);
      const std::vector<float> start(plain.size(), 0.5f);
      const std::vector<float> sum = product(*k, m, x, 9, 0, false, &start);
      // The same sum but for where its roundings fall: a few units in the last place of the largest partial sum.
      for (size_t i = 0; i < plain.size(); ++i) ASSERT_NEAR(sum[i], plain[i] + 0.5f, 1e-4f);
    }
  }
}

TEST(Matmul, InputsOfZeroOrHugeMagnitudeStayFinite) {
  Rng rng(6);
  for (const KernelTable* k : testing::machine_kernels()) {
    const Matrix m = random_matrix(rng, WeightType::kQ8_0, 16, 32);
    for (const float value : {0.0f, 1e-38f, 1e30f, -1e30f}) {
      for (const float y : product(*k, m, std::vector<float>(32, value), 1, 0, false, nullptr)) {
        EXPECT_TRUE(std::isfinite(y)) << k->name << " " << value;
      }
    }
  }
}

TEST(Panels, PackedWeightsTakeTheFilesBytes) {
  for (const WeightType type : kAllTypes) {
    EXPECT_EQ(packed_bytes(type, 64, 2048), 64 * row_bytes(type, 2048)) << type_name(type);
  }
}

TEST(Panels, APackedRowIsWorthWhatTheFilesRowIs) {
  Rng rng(8);
  for (const KernelTable* k : testing::machine_kernels()) {
    for (const WeightType type : kAllTypes) {
      const Matrix m = random_matrix(rng, type, 21, 512);
      Aligned<std::byte> packed(packed_bytes(type, m.rows, m.cols));
      k->pack_panels(type, m.file.data(), m.rows, m.cols, 0, 2, packed.data());
      std::vector<float> row(512);
      for (int r = 0; r < m.rows; ++r) {
        dequantize_packed_row({type, m.rows, m.cols, packed.data()}, r, row.data());
        ASSERT_EQ(std::memcmp(row.data(), m.values.data() + static_cast<size_t>(r) * 512, 512 * sizeof(float)), 0)
            << k->name << " " << type_name(type) << " row " << r;
      }
    }
  }
}

TEST(Panels, EveryInstructionSetPacksTheSameBytesAndWritesAllOfThem) {
  testing::for_each_case(20, [](Rng& rng) {
    const int rows = 1 + static_cast<int>(rng.below(50));
    for (const WeightType type : kAllTypes) {
      const int unit = static_cast<int>(weight_type_info(static_cast<uint32_t>(type))->block_elems);
      const int cols = unit * (1 + static_cast<int>(rng.below(unit == 1 ? 100 : 5)));
      const int panels = panel_count(rows);
      // Every bit of a block counts, so blocks are random bytes; one byte off, as in a file without alignment.
      std::vector<std::byte> file(1 + static_cast<size_t>(rows) * row_bytes(type, cols));
      for (std::byte& byte : file) byte = static_cast<std::byte>(rng.below(256));
      std::vector<std::byte> first;
      for (const KernelTable* k : testing::machine_kernels()) {
        Aligned<std::byte> packed(packed_bytes(type, rows, cols));
        std::memset(packed.data(), 0xA5, packed_bytes(type, rows, cols));
        k->pack_panels(type, file.data() + 1, rows, cols, 0, panels, packed.data());
        const std::vector<std::byte> bytes(packed.data(), packed.data() + packed_bytes(type, rows, cols));
        if (first.empty()) first = bytes;
        ASSERT_EQ(bytes, first) << k->name << " " << type_name(type) << " " << rows << " x " << cols;
      }
    }
  });
}

}  // namespace
}  // namespace infer::kernels
