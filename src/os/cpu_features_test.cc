#include "os/cpu_features.h"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>

#include "base/format.h"

namespace infer::os {
namespace {

constexpr uint32_t kOsxsave = 1u << 27, kAvx = 1u << 28, kF16c = 1u << 29, kFma = 1u << 12;
constexpr uint32_t kAvx2 = 1u << 5, kAvx512f = 1u << 16, kAvx512dq = 1u << 17, kAvx512bw = 1u << 30,
                   kAvx512vl = 1u << 31;
constexpr uint32_t kAmxTile = 1u << 24, kAmxInt8 = 1u << 25;

// A CPU with everything, under a system that saves everything.
CpuidWords full() {
  CpuidWords words;
  words.leaf1_ecx = kOsxsave | kAvx | kF16c | kFma;
  words.leaf7_ebx = kAvx2 | kAvx512f | kAvx512dq | kAvx512bw | kAvx512vl;
  words.leaf7_ecx = 1u << 11;
  words.leaf7_1_eax = (1u << 4) | (1u << 5);
  words.leaf7_edx = kAmxTile | kAmxInt8;
  words.xcr0 = 0x600E7;
  words.tiles_granted = true;
  return words;
}

bool any_avx512(const CpuFeatures& f) {
  return f.avx512f || f.avx512bw || f.avx512dq || f.avx512vl || f.avx512_vnni || f.avx512_bf16;
}

bool any_avx2(const CpuFeatures& f) { return f.avx2 || f.fma || f.f16c || f.avx_vnni; }

TEST(CpuFeatures, AllFlagsOfAFullMachineAreFound) {
  const CpuFeatures f = decode_cpu_features(full());
  EXPECT_TRUE(f.avx2 && f.fma && f.f16c && f.avx_vnni);
  EXPECT_TRUE(f.avx512f && f.avx512bw && f.avx512dq && f.avx512vl && f.avx512_vnni && f.avx512_bf16);
  EXPECT_TRUE(f.amx_int8);
  EXPECT_TRUE(f.os_saves_ymm && f.os_saves_zmm);
}

TEST(CpuFeatures, TilesNeedTheProcessorTheSystemAndItsLeave) {
  CpuidWords words = full();
  words.leaf7_edx = kAmxTile;
  EXPECT_FALSE(decode_cpu_features(words).amx_int8);
  words = full();
  words.leaf7_edx = kAmxInt8;
  EXPECT_FALSE(decode_cpu_features(words).amx_int8);
  words = full();
  words.xcr0 = 0x200E7;  // Their shapes are saved, what they hold is not.
  EXPECT_FALSE(decode_cpu_features(words).amx_int8);
  words = full();
  words.tiles_granted = false;
  EXPECT_FALSE(decode_cpu_features(words).amx_int8);
  EXPECT_TRUE(decode_cpu_features(words).avx512_vnni);
}

TEST(CpuFeatures, EachFlagHangsOnItsOwnBit) {
  CpuidWords words = full();
  words.leaf7_ebx &= ~kAvx512bw;
  EXPECT_FALSE(decode_cpu_features(words).avx512bw);
  EXPECT_TRUE(decode_cpu_features(words).avx512vl);
  words = full();
  words.leaf7_ecx = 0;
  EXPECT_FALSE(decode_cpu_features(words).avx512_vnni);
  EXPECT_TRUE(decode_cpu_features(words).avx_vnni);
  words = full();
  words.leaf7_1_eax = 1u << 4;
  EXPECT_FALSE(decode_cpu_features(words).avx512_bf16);
  EXPECT_TRUE(decode_cpu_features(words).avx_vnni);
  words = full();
  words.leaf1_ecx &= ~kFma;
  EXPECT_FALSE(decode_cpu_features(words).fma);
  EXPECT_TRUE(decode_cpu_features(words).f16c);
  words = full();
  words.leaf7_ebx &= ~kAvx512f;
  EXPECT_FALSE(any_avx512(decode_cpu_features(words)));
  EXPECT_TRUE(any_avx2(decode_cpu_features(words)));
}

TEST(CpuFeatures, ASystemThatDoesNotSaveWideRegistersHidesTheirInstructions) {
  CpuidWords words = full();
  words.xcr0 = 0x07;  // AVX, but not the AVX-512 state.
  EXPECT_TRUE(any_avx2(decode_cpu_features(words)));
  EXPECT_FALSE(any_avx512(decode_cpu_features(words)));
  words.xcr0 = 0x67;  // A part of the AVX-512 state is not enough.
  EXPECT_FALSE(any_avx512(decode_cpu_features(words)));
  words.xcr0 = 0x03;
  EXPECT_FALSE(any_avx2(decode_cpu_features(words)));
  EXPECT_FALSE(any_avx512(decode_cpu_features(words)));
  words = full();
  words.leaf1_ecx &= ~kOsxsave;
  EXPECT_FALSE(any_avx2(decode_cpu_features(words)));
  words = full();
  words.leaf1_ecx &= ~kAvx;
  EXPECT_FALSE(any_avx2(decode_cpu_features(words)));
  EXPECT_FALSE(any_avx512(decode_cpu_features(words)));
}

TEST(CpuFeatures, TheBrandIsTrimmed) {
  CpuidWords words;
  EXPECT_EQ(decode_cpu_features(words).brand, "");
  std::memcpy(words.brand.data(), "   Fast CPU 3000   ", 19);
  EXPECT_EQ(decode_cpu_features(words).brand, "Fast CPU 3000");
  std::memset(words.brand.data(), 'x', sizeof(words.brand));  // No NUL at the end.
  EXPECT_EQ(decode_cpu_features(words).brand, std::string(48, 'x'));
}

TEST(CpuFeatures, TheVendorIsTwelveLettersOfThreeWords) {
  CpuidWords words;
  EXPECT_EQ(decode_cpu_features(words).vendor, "");
  words.vendor = {0x756E6547, 0x49656E69, 0x6C65746E};  // As Intel's manual of CPUID has them: EBX, EDX, ECX.
  EXPECT_EQ(decode_cpu_features(words).vendor, "GenuineIntel");
}

TEST(CpuFeatures, TheFamilyHasAnExtensionWhereItsFourBitsAreFull) {
  CpuidWords words;
  EXPECT_EQ(decode_cpu_features(words).family, 0);
  words.leaf1_eax = 0x00A00F11;  // Zen 3
  EXPECT_EQ(decode_cpu_features(words).family, 25);
  words.leaf1_eax = 0x00B00F21;  // Zen 5
  EXPECT_EQ(decode_cpu_features(words).family, 26);
  words.leaf1_eax = 0x00C06F2;  // Sapphire Rapids: only families of fifteen are extended.
  EXPECT_EQ(decode_cpu_features(words).family, 6);
}

#if defined(__linux__) && defined(__x86_64__)
TEST(CpuFeatures, AgreesWithTheKernel) {
  std::ifstream file("/proc/cpuinfo");
  std::string line;
  while (std::getline(file, line) && !line.starts_with("vendor_id")) {
  }
  const std::string vendor = detect_cpu_features().vendor;
  EXPECT_NE(line.find(": " + vendor), std::string::npos) << line << ", but CPUID says " << vendor;
  while (std::getline(file, line) && !line.starts_with("cpu family")) {
  }
  EXPECT_TRUE(line.ends_with(format(": {}", detect_cpu_features().family))) << line;
  while (std::getline(file, line) && !line.starts_with("flags")) {
  }
  if (line.empty()) GTEST_SKIP() << "/proc/cpuinfo names no flags";
  const std::string flags = format(" {} ", line.substr(line.find(':') + 1));
  auto kernel_says = [&](const char* name) { return flags.find(format(" {} ", name)) != std::string::npos; };
  const CpuFeatures f = detect_cpu_features();
  EXPECT_EQ(f.avx2, kernel_says("avx2"));
  EXPECT_EQ(f.fma, kernel_says("fma"));
  EXPECT_EQ(f.f16c, kernel_says("f16c"));
  EXPECT_EQ(f.avx512f, kernel_says("avx512f"));
  EXPECT_EQ(f.avx512bw, kernel_says("avx512bw"));
  EXPECT_EQ(f.avx512dq, kernel_says("avx512dq"));
  EXPECT_EQ(f.avx512vl, kernel_says("avx512vl"));
  EXPECT_EQ(f.avx512_vnni, kernel_says("avx512_vnni"));
  EXPECT_EQ(f.avx512_bf16, kernel_says("avx512_bf16"));
  EXPECT_FALSE(f.brand.empty());
}
#endif

}  // namespace
}  // namespace infer::os
