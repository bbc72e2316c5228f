#include "kernels/block_formats.h"

#include <array>

namespace infer::kernels {

namespace {

constexpr std::array<WeightTypeInfo, 16> kWeightTypes{{
    {WeightType::kF32, "f32", 1, 4},
    {WeightType::kF16, "f16", 1, 2},
    {WeightType::kBF16, "bf16", 1, 2},
    {WeightType::kQ4_0, "q4_0", 32, sizeof(BlockQ4_0)},
    {WeightType::kQ4_1, "q4_1", 32, sizeof(BlockQ4_1)},
    {WeightType::kQ5_0, "q5_0", 32, sizeof(BlockQ5_0)},
    {WeightType::kQ5_1, "q5_1", 32, sizeof(BlockQ5_1)},
    {WeightType::kQ8_0, "q8_0", 32, sizeof(BlockQ8_0)},
    {WeightType::kQ2_K, "q2_K", 256, sizeof(BlockQ2_K)},
    {WeightType::kQ3_K, "q3_K", 256, sizeof(BlockQ3_K)},
    {WeightType::kQ4_K, "q4_K", 256, sizeof(BlockQ4_K)},
    {WeightType::kQ5_K, "q5_K", 256, sizeof(BlockQ5_K)},
    {WeightType::kQ6_K, "q6_K", 256, sizeof(BlockQ6_K)},
    {WeightType::kIQ4_NL, "iq4_nl", 32, sizeof(BlockIQ4_NL)},
    {WeightType::kIQ4_XS, "iq4_xs", 256, sizeof(BlockIQ4_XS)},
    {WeightType::kMXFP4, "mxfp4", 32, sizeof(BlockMXFP4)},
}};
static_assert(sizeof(BlockQ4_0) == 18 && sizeof(BlockQ4_1) == 20 && sizeof(BlockQ5_0) == 22);
static_assert(sizeof(BlockQ5_1) == 24 && sizeof(BlockQ8_0) == 34 && sizeof(BlockQ4_K) == 144);
static_assert(sizeof(BlockQ5_K) == 176 && sizeof(BlockQ6_K) == 210);
static_assert(sizeof(BlockQ2_K) == 84 && sizeof(BlockQ3_K) == 110 && sizeof(BlockIQ4_NL) == 18);
static_assert(sizeof(BlockIQ4_XS) == 136 && sizeof(BlockMXFP4) == 17);

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool same_name(const char* a, const char* b) {
  while (*a != '\0' && lower(*a) == lower(*b)) ++a, ++b;
  return *a == '\0' && *b == '\0';
}

}  // namespace

const WeightTypeInfo* weight_type_info(uint32_t gguf_type_id) {
  for (const WeightTypeInfo& info : kWeightTypes) {
    if (static_cast<uint32_t>(info.type) == gguf_type_id) return &info;
  }
  return nullptr;
}

const WeightTypeInfo* weight_type_by_name(const char* name) {
  for (const WeightTypeInfo& info : kWeightTypes) {
    if (same_name(info.name, name)) return &info;
  }
  return nullptr;
}

}  // namespace infer::kernels
