// The quantizers of reference.cc against the definitions of the formats (what a block is worth is held against another
// program's answers in tests/golden/).
#include "kernels/reference.h"

#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "testing/property.h"

namespace infer::kernels {
namespace {

// Half of the widest step between two neighbouring values of a block, for values between -1 and 1, where the format's
// steps are set by the extremes of a block, and what rounding of the scales adds. The widest steps of the tables are 24
// of 127 (IQ4) and 4 of 12 (MXFP4, whose scale may be twice what the extreme needs, or make it saturate at 6 of 8).
struct Bound {
  WeightType type;
  double error;
};
constexpr std::array kBounds{Bound{WeightType::kQ8_0, 0.005},  Bound{WeightType::kQ6_K, 0.06},
                             Bound{WeightType::kQ5_K, 0.055},  Bound{WeightType::kQ4_K, 0.1},
                             Bound{WeightType::kQ4_0, 0.13},   Bound{WeightType::kQ3_K, 0.35},
                             Bound{WeightType::kQ2_K, 0.42},   Bound{WeightType::kIQ4_NL, 0.12},
                             Bound{WeightType::kIQ4_XS, 0.15}, Bound{WeightType::kMXFP4, 0.26}};

std::vector<float> through(WeightType type, const std::vector<float>& x) {
  const WeightTypeInfo* info = weight_type_info(static_cast<uint32_t>(type));
  std::vector<std::byte> row(x.size() / info->block_elems * info->block_bytes);
  std::vector<float> back(x.size());
  quantize_row(type, x.data(), static_cast<int>(x.size()), row.data());
  dequantize_row(type, row.data(), static_cast<int>(x.size()), back.data());
  return back;
}

TEST(Reference, QuantizedValuesAreWithinAStepOfTheFormat) {
  testing::for_each_case(200, [](Rng& rng) {
    std::vector<float> x(256);
    for (float& value : x) value = static_cast<float>(2 * rng.uniform() - 1);
    for (const Bound& bound : kBounds) {
      const std::vector<float> back = through(bound.type, x);
      for (size_t i = 0; i < x.size(); ++i) {
        ASSERT_NEAR(back[i], x[i], bound.error) << weight_type_info(static_cast<uint32_t>(bound.type))->name;
      }
    }
  });
}

TEST(Reference, ARowOfZerosStaysZero) {
  for (const Bound& bound : kBounds) {
    for (const float value : through(bound.type, std::vector<float>(256, 0.0f))) EXPECT_EQ(value, 0.0f);
  }
}

TEST(Reference, ValuesOfTheFormatsOwnGridAreKept) {
  std::vector<float> table(256), powers(256);
  for (size_t i = 0; i < 256; ++i) {
    table[i] = 0.25f * static_cast<float>(kIq4Values[i % 16]);
    powers[i] = 0.5f * static_cast<float>(kFp4Doubled[i * 5 % 16]);
  }
  EXPECT_EQ(through(WeightType::kIQ4_NL, table), table);
  EXPECT_EQ(through(WeightType::kMXFP4, powers), powers);
}

TEST(Reference, TheScaleOfMxfp4ReachesSubnormalAndHugeNumbers) {
  std::vector<std::byte> block(sizeof(BlockMXFP4), std::byte{0x11});
  std::vector<float> out(32);
  const auto value_at = [&](int exponent) {
    block[0] = static_cast<std::byte>(exponent);
    dequantize_row(WeightType::kMXFP4, block.data(), 32, out.data());
    return out[0];
  };
  EXPECT_EQ(value_at(0), 0x1p-128f);
  EXPECT_EQ(value_at(1), 0x1p-127f);
  EXPECT_EQ(value_at(128), 1.0f);
  EXPECT_EQ(value_at(255), 0x1p127f);
}

}  // namespace
}  // namespace infer::kernels
