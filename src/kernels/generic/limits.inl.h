// How fast this machine reads memory and multiplies: the limits that speeds are compared with. Included by
// kernels_<isa>.cc inside its unnamed namespace, after the vocabulary.

// The sum of all 32-bit words (little-endian, modulo 2^32) and of the bytes after the last whole 64.
uint64_t read_all(const std::byte* data, size_t bytes) {
  constexpr size_t kVector = 64, kVectors = 4;
  I32 sum[kVectors];
  for (size_t v = 0; v < kVectors; ++v) sum[v] = set_i32(0);
  size_t i = 0;
  for (; i + kVectors * kVector <= bytes; i += kVectors * kVector) {
#pragma GCC unroll 4
    for (size_t v = 0; v < kVectors; ++v) {
      sum[v] = add_i32(sum[v], load_i32(data + i + v * kVector));
    }
  }
  for (; i + kVector <= bytes; i += kVector) sum[0] = add_i32(sum[0], load_i32(data + i));
  const I32 total = add_i32(add_i32(sum[0], sum[1]), add_i32(sum[2], sum[3]));
  uint64_t checksum = static_cast<uint32_t>(sum_lanes_i32(total));
  for (; i < bytes; ++i) checksum += static_cast<uint64_t>(data[i]);
  return checksum;
}

template <int kStreams>
uint64_t read_parts(const std::byte* data, size_t part, size_t ahead) {
  constexpr size_t kVector = 64, kVectors = 2;
  I32 sum[kStreams];
#pragma GCC unroll 8
  for (int s = 0; s < kStreams; ++s) sum[s] = set_i32(0);
  for (size_t i = 0; i < part; i += kVectors * kVector) {
#pragma GCC unroll 8
    for (size_t s = 0; s < kStreams; ++s) {
      const std::byte* from = data + s * part + i;
      // Both lines of the turn; an address behind the end is no fault to a prefetch.
      if (ahead > 0) {
        __builtin_prefetch(from + ahead);
        __builtin_prefetch(from + ahead + kVector);
      }
      sum[s] = add_i32(sum[s], add_i32(load_i32(from), load_i32(from + kVector)));
    }
  }
  uint32_t total = 0;
  for (int s = 0; s < kStreams; ++s) total += static_cast<uint32_t>(sum_lanes_i32(sum[s]));
  return total;
}

uint64_t read_streams(const std::byte* data, size_t bytes, int streams, size_t ahead) {
  switch (streams) {
    case 1: return read_parts<1>(data, bytes, ahead);
    case 2: return read_parts<2>(data, bytes / 2, ahead);
    case 4: return read_parts<4>(data, bytes / 4, ahead);
    default: return read_parts<8>(data, bytes / 8, ahead);
  }
}

uint64_t int8_peak(uint64_t rounds, int32_t* sink) {
  constexpr int kProducts = 4 * kLanes;
  uint8_t bytes[kProducts];
  for (int i = 0; i < kProducts; ++i) bytes[i] = static_cast<uint8_t>(i % 8);
  U8 codes = load_u8(bytes);
  const U8 x = codes;
  I32 sum[kPeakByteSums];
#pragma GCC unroll 16
  for (int s = 0; s < kPeakByteSums; ++s) sum[s] = set_i32(0);
  for (uint64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 16
    for (int s = 0; s < kPeakByteSums; ++s) {
      forget(codes);  // Else the products would be taken once and added many times.
      sum[s] = multiply_add_i8(sum[s], codes, x);
    }
  }
  I32 total = set_i32(0);
#pragma GCC unroll 16
  for (int s = 0; s < kPeakByteSums; ++s) total = add_i32(total, sum[s]);
  *sink = static_cast<int32_t>(static_cast<uint32_t>(*sink) + static_cast<uint32_t>(sum_lanes_i32(total)));
  return rounds * kPeakByteSums * kProducts * 2;
}

uint64_t f32_peak(uint64_t rounds, float* sink) {
  const F32 factor = set_f32(0x1p-10f);
  F32 sum[kPeakSums];
#pragma GCC unroll 16
  for (int s = 0; s < kPeakSums; ++s) sum[s] = set_f32(static_cast<float>(s));
  for (uint64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 16
    for (int s = 0; s < kPeakSums; ++s) sum[s] = fma(factor, factor, sum[s]);
  }
  F32 total = zero_f32();
#pragma GCC unroll 16
  for (int s = 0; s < kPeakSums; ++s) total = add(total, sum[s]);
  *sink += sum_lanes(total);
  return rounds * kPeakSums * kLanes * 2;
}
