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
  kQ4_K = 12,
  kQ5_K = 13,
  kQ6_K = 14,
  kBF16 = 30,
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
#pragma pack(pop)

}  // namespace infer::kernels
