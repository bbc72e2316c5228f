// The words of AMX-INT8: eight tile registers of at most 16 rows of 64 bytes, and an instruction that adds the products
// of two to a third. Included by kernels_amx.cc only, inside namespace infer::kernels::amx::(unnamed). What a tile may
// hold is configured for the thread that runs; the system gives a process the registers only when it asks for them
// (os::CpuFeatures::amx_int8).
//
// Written out, since the compilers' intrinsics say less about memory than is true: g++ 12's configuration reads 8 of
// its 64 bytes, and its stores make it put sums that are in registers into memory.

inline constexpr int kTiles = 8;

// The operand of the configuring instruction, as the processor reads it.
struct alignas(64) TileShapes {
  uint8_t palette = 1;
  uint8_t first_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};

  void set(int tile, int row_count, int bytes) {
    rows[tile] = static_cast<uint8_t>(row_count);
    row_bytes[tile] = static_cast<uint16_t>(bytes);
  }
};

// From here to the release, what tiles are loaded from must not be written: loads do not name the memory they read.
void configure_tiles(const TileShapes& shapes) { asm volatile("ldtilecfg %0" : : "m"(shapes) : "memory"); }
void release_tiles() { asm volatile("tilerelease" : : : "memory"); }

template <int kTile>
inline __attribute__((always_inline)) void zero_tile() {
  asm volatile("tilezero %%tmm%c0" : : "i"(kTile));
}
template <int kTile>
inline __attribute__((always_inline)) void load_tile(const void* rows, size_t stride) {
  asm volatile("tileloadd (%1,%2,1), %%tmm%c0" : : "i"(kTile), "r"(rows), "r"(stride));
}
// sums[m][n] += left[m][4k + j] * right[k][4n + j] over all k and j; signed bytes, sums of 32 bits.
template <int kSums, int kLeft, int kRight>
inline __attribute__((always_inline)) void add_tile_products() {
  asm volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kSums), "i"(kLeft), "i"(kRight));
}
template <int kTile, class Rows>
inline __attribute__((always_inline)) void store_tile(Rows& rows) {
  asm volatile("tilestored %%tmm%c1, (%2,%3,1)" : "=m"(rows) : "i"(kTile), "r"(&rows), "r"(static_cast<size_t>(64)));
}

// sum = a * b + sum, with b read where it is used: one value for all lanes, or a vector. Written out, since the
// compiler would read what twelve tokens need ahead, and put as many sums into memory.
inline __attribute__((always_inline)) void add_scaled(F32& sum, F32 a, const float* b) {
  asm("vfmadd231ps %2%{1to16%}, %1, %0" : "+v"(sum) : "v"(a), "m"(*b));
}
inline __attribute__((always_inline)) void add_product(F32& sum, F32 a, const float* b) {
  asm("vfmadd231ps %2, %1, %0" : "+v"(sum) : "v"(a), "m"(*reinterpret_cast<const F32*>(b)));
}
