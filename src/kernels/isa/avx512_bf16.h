// What needs AVX512_BF16, which the "avx512" set does not ask of a processor: nothing here may run before the processor
// was asked. Included by kernels_avx512.cc only, after isa/avx512.h.

// See KernelTable::bf16_peak. One instruction multiplies 32 pairs and adds two products into each of 16 lanes.
uint64_t bf16_peak(uint64_t rounds, float* sink) {
  U8 pairs = _mm512_set1_epi16(0x3D80);  // 1/16
  F32 sum[kPeakSums];
#pragma GCC unroll 16
  for (int s = 0; s < kPeakSums; ++s) sum[s] = zero_f32();
  for (uint64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 16
    for (int s = 0; s < kPeakSums; ++s) {
      forget(pairs);
      sum[s] = _mm512_dpbf16_ps(sum[s], (__m512bh)pairs, (__m512bh)pairs);
    }
  }
  F32 total = zero_f32();
#pragma GCC unroll 16
  for (int s = 0; s < kPeakSums; ++s) total = add(total, sum[s]);
  *sink += sum_lanes(total);
  return rounds * kPeakSums * kLanes * 4;
}
