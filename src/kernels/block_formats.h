// The weight encodings of GGUF files as they lie on disk: block sizes, byte layouts, names.
//
// A quantization block is a run of consecutive weights of one row that share scales. All multi-byte fields are little
// endian; `uint16_t d` and the like are IEEE half floats. Source of the layouts: the GGUF / ggml type definitions.
// This header is plain data and constexpr tables: kernel files of every instruction set include it, so it must not
// define anything that the linker could merge between them (no inline functions with external linkage).
#pragma once

#include <cstddef>
#include <cstdint>

namespace infer::kernels {

// The values are GGUF's type ids. Ids that are not listed are unsupported (weight_type_info returns null).
enum class WeightType : uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ5_0 = 6,
  kQ5_1 = 7,
  kQ8_0 = 8,
  kQ2_K = 10,
  kQ3_K = 11,
  kQ4_K = 12,
  kQ5_K = 13,
  kQ6_K = 14,
  kIQ4_NL = 20,
  kIQ4_XS = 23,
  kBF16 = 30,
  kMXFP4 = 39,
};

struct WeightTypeInfo {
  WeightType type;
  const char* name;      // As llama.cpp prints it: "q4_0", "q6_K".
  uint32_t block_elems;  // Weights per block; a row must be a whole number of blocks.
  uint32_t block_bytes;
};

// Null when the id is not one of ours. `name` lookup is case-insensitive.
const WeightTypeInfo* weight_type_info(uint32_t gguf_type_id);
const WeightTypeInfo* weight_type_by_name(const char* name);

#pragma pack(push, 1)
// w = d * (q - 8); byte i of qs holds weight i in its low and weight i + 16 in its high nibble.
struct BlockQ4_0 {
  uint16_t d;
  uint8_t qs[16];
};
// w = d * q + m.
struct BlockQ4_1 {
  uint16_t d, m;
  uint8_t qs[16];
};
// w = d * (q - 16); bit i of qh is bit 4 of weight i.
struct BlockQ5_0 {
  uint16_t d;
  uint8_t qh[4];
  uint8_t qs[16];
};
// w = d * q + m.
struct BlockQ5_1 {
  uint16_t d, m;
  uint8_t qh[4];
  uint8_t qs[16];
};
// w = d * q.
struct BlockQ8_0 {
  uint16_t d;
  int8_t qs[32];
};
// 256 weights in 16 groups of 16: w = d * (scales[g] & 15) * q - dmin * (scales[g] >> 4). In each half of 128, qs[l]
// (l < 32) has the 2-bit codes of weights l, l+32, l+64, l+96 from its low bits upwards.
struct BlockQ2_K {
  uint8_t scales[16];
  uint8_t qs[64];
  uint16_t d, dmin;
};
// 256 weights in 16 groups of 16: w = d * (sc[g] - 32) * (q - 4). The low 2 bits of q lie as in Q2_K; bit 4h + k of
// hmask[l] is bit 2 of weight 128h + 32k + l. sc is 6 bits: the low 4 are nibble g / 8 of scales[g % 8], the upper 2
// are pair g / 4 of scales[8 + g % 4].
struct BlockQ3_K {
  uint8_t hmask[32];
  uint8_t qs[64];
  uint8_t scales[12];
  uint16_t d;
};
// 256 weights in 8 groups of 32: w = d * sc[g] * q - dmin * mn[g]. sc and mn are 6 bits each, packed in `scales`:
// for g < 4: sc = scales[g] & 63, mn = scales[g+4] & 63; for g >= 4: sc = (scales[g+4] & 15) | (scales[g-4] >> 6) << 4,
// mn = (scales[g+4] >> 4) | (scales[g] >> 6) << 4. 32 bytes of qs hold 64 weights: the first 32 in the low nibbles.
struct BlockQ4_K {
  uint16_t d, dmin;
  uint8_t scales[12];
  uint8_t qs[128];
};
// As Q4_K with a fifth bit: bit 2c (2c+1) of qh[i] belongs to the low (high) nibble of qs[32c + i].
struct BlockQ5_K {
  uint16_t d, dmin;
  uint8_t scales[12];
  uint8_t qh[32];
  uint8_t qs[128];
};
// 256 weights in 16 groups of 16: w = d * scales[g] * (q - 32). In each half of 128: ql[l] low nibble is weight l,
// ql[l+32] low l+32, ql[l] high l+64, ql[l+32] high l+96 (l < 32); qh[l] has their upper 2 bits in that order.
struct BlockQ6_K {
  uint8_t ql[128];
  uint8_t qh[64];
  int8_t scales[16];
  uint16_t d;
};
// w = d * kIq4Values[q]; nibbles as Q4_0.
struct BlockIQ4_NL {
  uint16_t d;
  uint8_t qs[16];
};
// 256 weights in 8 groups of 32: w = d * (sc[g] - 32) * kIq4Values[q]. sc is 6 bits: the low 4 are nibble g % 2 of
// scales_l[g / 2], the upper 2 are pair g of scales_h. 16 bytes of qs hold one group, nibbles as Q4_0.
struct BlockIQ4_XS {
  uint16_t d;
  uint16_t scales_h;
  uint8_t scales_l[4];
  uint8_t qs[128];
};
// The microscaling format of the Open Compute Project: w = 2^(e - 128) * kFp4Doubled[q]; nibbles as Q4_0. Its NaN scale
// (e = 255) is taken for 2^127, as other readers of GGUF files do.
struct BlockMXFP4 {
  uint8_t e;
  uint8_t qs[16];
};
#pragma pack(pop)

// Tables without `inline`, so that each file has its own copy and the linker merges nothing.
// What the 4-bit codes of IQ4_NL and IQ4_XS stand for: denser near zero, as weights are.
constexpr int8_t kIq4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
// Twice the sixteen values of E2M1 (sign, two bits of exponent, one of mantissa), which makes them integers.
constexpr int8_t kFp4Doubled[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

}  // namespace infer::kernels
