#include "os/cpu_features.h"

#include <cstring>

#if defined(_MSC_VER) && defined(_M_X64)
#include <immintrin.h>
#include <intrin.h>
#elif defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__linux__) && defined(__x86_64__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace infer::os {

namespace {

constexpr int kOsxsaveBit = 27;  // Of leaf 1 ECX: XGETBV may be executed.
constexpr int kAmxTileBit = 24;  // Of leaf 7 EDX.
constexpr int kAmxInt8Bit = 25;

bool bit(uint64_t word, int index) { return ((word >> index) & 1) != 0; }

template <size_t kWords>
std::string unpadded_text(const std::array<uint32_t, kWords>& words) {
  char text[sizeof(words) + 1] = {};
  std::memcpy(text, words.data(), sizeof(words));
  const std::string padded(text);  // Ends at the first NUL; vendors pad with spaces on either side.
  const size_t begin = padded.find_first_not_of(' ');
  if (begin == std::string::npos) return "";
  return padded.substr(begin, padded.find_last_not_of(' ') - begin + 1);
}

#if defined(__x86_64__) || defined(_M_X64)

struct Leaf {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

#if defined(_MSC_VER)
Leaf cpuid(uint32_t leaf, uint32_t subleaf) {
  int words[4];
  __cpuidex(words, static_cast<int>(leaf), static_cast<int>(subleaf));
  return Leaf{static_cast<uint32_t>(words[0]), static_cast<uint32_t>(words[1]), static_cast<uint32_t>(words[2]),
              static_cast<uint32_t>(words[3])};
}
uint64_t xgetbv0() { return _xgetbv(0); }
#else
Leaf cpuid(uint32_t leaf, uint32_t subleaf) {
  Leaf out;
  __cpuid_count(leaf, subleaf, out.eax, out.ebx, out.ecx, out.edx);
  return out;
}
uint64_t xgetbv0() {
  uint32_t low = 0;   // NOLINT(misc-const-correctness): the instruction writes both.
  uint32_t high = 0;  // NOLINT(misc-const-correctness)
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<uint64_t>(high) << 32) | low;
}
#endif

// Once granted it is for all threads, those to come too.
bool request_tiles() {
#if defined(__linux__)
  constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr long kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

#endif

}  // namespace

CpuidWords read_cpuid() {
  CpuidWords words;
#if defined(__x86_64__) || defined(_M_X64)
  const Leaf leaf0 = cpuid(0, 0);
  words.vendor = {leaf0.ebx, leaf0.edx, leaf0.ecx};
  const uint32_t last_leaf = leaf0.eax;
  if (last_leaf >= 1) {
    const Leaf leaf1 = cpuid(1, 0);
    words.leaf1_eax = leaf1.eax;
    words.leaf1_ecx = leaf1.ecx;
  }
  if (last_leaf >= 7) {
    const Leaf leaf7 = cpuid(7, 0);
    words.leaf7_ebx = leaf7.ebx;
    words.leaf7_ecx = leaf7.ecx;
    words.leaf7_edx = leaf7.edx;
    if (leaf7.eax >= 1) words.leaf7_1_eax = cpuid(7, 1).eax;
  }
  if (bit(words.leaf1_ecx, kOsxsaveBit)) words.xcr0 = xgetbv0();
  if (bit(words.leaf7_edx, kAmxTileBit)) words.tiles_granted = request_tiles();
  if (cpuid(0x80000000u, 0).eax >= 0x80000004u) {
    for (uint32_t i = 0; i < 3; ++i) {
      const Leaf leaf = cpuid(0x80000002u + i, 0);
      words.brand[i * 4 + 0] = leaf.eax;
      words.brand[i * 4 + 1] = leaf.ebx;
      words.brand[i * 4 + 2] = leaf.ecx;
      words.brand[i * 4 + 3] = leaf.edx;
    }
  }
#endif
  return words;
}

CpuFeatures decode_cpu_features(const CpuidWords& words) {
  constexpr uint64_t kYmmState = 0b110;                // SSE and AVX.
  constexpr uint64_t kZmmState = 0b1110'0000 | 0b110;  // Masks, upper halves, upper sixteen, and the above.
  constexpr uint64_t kTileState = 0b11ull << 17;       // Shapes and contents.
  CpuFeatures out;
  const uint64_t xcr0 = bit(words.leaf1_ecx, kOsxsaveBit) ? words.xcr0 : 0;
  const bool has_avx = bit(words.leaf1_ecx, 28);
  out.os_saves_ymm = (xcr0 & kYmmState) == kYmmState;
  out.os_saves_zmm = (xcr0 & kZmmState) == kZmmState;

  const bool ymm = out.os_saves_ymm && has_avx;
  out.fma = ymm && bit(words.leaf1_ecx, 12);
  out.f16c = ymm && bit(words.leaf1_ecx, 29);
  out.avx2 = ymm && bit(words.leaf7_ebx, 5);
  out.avx_vnni = out.avx2 && bit(words.leaf7_1_eax, 4);

  out.avx512f = ymm && out.os_saves_zmm && bit(words.leaf7_ebx, 16);
  out.avx512dq = out.avx512f && bit(words.leaf7_ebx, 17);
  out.avx512bw = out.avx512f && bit(words.leaf7_ebx, 30);
  out.avx512vl = out.avx512f && bit(words.leaf7_ebx, 31);
  out.avx512_vnni = out.avx512f && bit(words.leaf7_ecx, 11);
  out.avx512_bf16 = out.avx512f && bit(words.leaf7_1_eax, 5);

  const bool tiles = (xcr0 & kTileState) == kTileState && words.tiles_granted;
  out.amx_int8 = tiles && bit(words.leaf7_edx, kAmxTileBit) && bit(words.leaf7_edx, kAmxInt8Bit);

  const uint32_t family = (words.leaf1_eax >> 8) & 0xF, extended_family = (words.leaf1_eax >> 20) & 0xFF;
  out.family = static_cast<int>(family == 0xF ? family + extended_family : family);
  out.vendor = unpadded_text(words.vendor);
  out.brand = unpadded_text(words.brand);
  return out;
}

}  // namespace infer::os
