// Which instruction sets this process may execute, and what the CPU calls itself.
//
// A flag is true only when the CPU has the instructions (CPUID) *and* the operating system saves the registers that
// they use when it switches threads (XGETBV): without the second, results are silently wrong. Tile registers must also
// have been granted to this process.
// Thread safety: plain data; every function may be called from any thread.
#pragma once

#include <array>
#include <cstdint>
#include <string>

namespace infer::os {

struct CpuFeatures {
  bool os_saves_ymm = false;
  bool os_saves_zmm = false;
  bool avx2 = false;
  bool fma = false;
  bool f16c = false;
  bool avx_vnni = false;
  bool avx512f = false;
  bool avx512bw = false;
  bool avx512dq = false;
  bool avx512vl = false;
  bool avx512_vnni = false;
  bool avx512_bf16 = false;
  bool amx_int8 = false;  // The tile registers, and products of bytes in them.
  int family = 0;         // As its maker counts: 25 for AMD's Zen 3 and 4, 26 for Zen 5; 0 as for the vendor.
  std::string vendor;     // "AuthenticAMD", "GenuineIntel"; "" on other machines than x86-64.
  std::string brand;      // "AMD EPYC 9R14"; "" where the CPU does not tell.
};

// The words that the features are decoded from; all 0 on other machines than x86-64.
struct CpuidWords {
  std::array<uint32_t, 3> vendor{};  // EBX, EDX and ECX of leaf 0.
  uint32_t leaf1_eax = 0;
  uint32_t leaf1_ecx = 0;
  uint32_t leaf7_ebx = 0;
  uint32_t leaf7_ecx = 0;
  uint32_t leaf7_edx = 0;
  uint32_t leaf7_1_eax = 0;
  uint64_t xcr0 = 0;                 // 0 unless leaf 1 says that XGETBV exists.
  bool tiles_granted = false;        // By the system to this process.
  std::array<uint32_t, 12> brand{};  // Leaves 0x80000002..4.
};

// Where the CPU has tile registers, asks the system for them: Linux saves those 8 KB only for processes that did. A
// refusal (a system older than 5.16, a thread whose signal stack is too small for them) means doing without.
CpuidWords read_cpuid();
CpuFeatures decode_cpu_features(const CpuidWords& words);

inline CpuFeatures detect_cpu_features() { return decode_cpu_features(read_cpuid()); }

}  // namespace infer::os
