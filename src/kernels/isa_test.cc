// The words of each instruction set's vocabulary mean the same, lane by lane: all are held against plain definitions.
// The vocabularies are compiled here for their own instruction sets, and run only where the machine has them.
#include <gtest/gtest.h>
#include <immintrin.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <string_view>
#include <vector>

#include "base/rng.h"
#include "kernels/kernel_table.h"
#include "kernels/reference.h"
#include "testing/machine_kernels.h"
#include "testing/property.h"

// No test uses every word; g++ 12 warns of its own header's "undefined" operands (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wunused-function"
#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

namespace infer::kernels {

enum class LaneOp {
  kAdd,
  kSub,
  kMul,
  kDiv,
  kFma,
  kMax,
  kMin,
  kAbs,
  kSelectLess,
  kBits,
  kExp,
  kExpNotPositive,
  kSumLanes,
  kMaxLanes,
  kSumLanesDouble,
};
enum class IntegerOp {
  kAdd,
  kMultiply,
  kShiftLeft,
  kField,
  kToFloat,
  kRound,
  kThroughBytes,
  kWidenBytes,
  kWidenHalfWords,
  kThroughHalfWords,
  kDotPairs,
  kDotBytes,
  kSumLanes
};
enum class ByteOp { kOr, kAdd, kSub, kAddWhere, kSet, kRepeat, kLookup, kField, kRaisedField };

struct Probe {
  const char* name;
  void (*run_lanes)(LaneOp op, const float* a, const float* b, const float* c, float* out);
  void (*load_first)(const float* p, int n, float* out);
  void (*store_first)(const float* p, int n, float* out);
  void (*from_half)(const uint16_t* p, float* out);
  void (*from_bfloat16)(const uint16_t* p, float* out);
  void (*run_integers)(IntegerOp op, const int32_t* a, const int32_t* b, int32_t* out);
  void (*run_bytes)(ByteOp op, const uint8_t* a, const uint8_t* b, uint64_t mask, uint8_t* out);
};

namespace scalar_words {
namespace {
#include "kernels/isa/scalar.h"
//
#include "kernels/generic/vector_math.inl.h"
//
#include "kernels/isa_probe.inl.h"
}  // namespace
}  // namespace scalar_words

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
#endif
namespace avx2_words {
namespace {
#include "kernels/isa/avx2.h"
//
#include "kernels/generic/vector_math.inl.h"
//
#include "kernels/isa_probe.inl.h"
}  // namespace
}  // namespace avx2_words
#if defined(__clang__)
#pragma clang attribute pop
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni"))), \
                             apply_to = function)
#else
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")
#endif
namespace avx512_words {
namespace {
#include "kernels/isa/avx512.h"
//
#include "kernels/generic/vector_math.inl.h"
//
#include "kernels/isa_probe.inl.h"
}  // namespace
}  // namespace avx512_words
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

namespace {

using Lanes = std::array<float, 16>;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kSpecial[] = {0.0f,   -0.0f,   1.0f,   -1.0f,    kInfinity, -kInfinity, kNaN,
                              1e-45f, -1e-45f, 1e-39f, 3e38f,    -3e38f,    0x1p-126f,  0x1p-24f,
                              0.5f,   1.5f,    2.5f,   65504.0f, 65520.0f,  88.7f};

std::vector<const Probe*> machine_probes() {
  std::vector<const Probe*> probes;
  for (const KernelTable* table : testing::machine_kernels()) {
    for (const Probe* probe : {&scalar_words::kProbe, &avx2_words::kProbe, &avx512_words::kProbe}) {
      if (std::string_view(probe->name) == table->name) probes.push_back(probe);
    }
  }
  return probes;
}

// Specials, ordinary numbers, and any bits at all.
float any_float(Rng& rng) {
  switch (rng.below(3)) {
    case 0: return kSpecial[rng.below(std::size(kSpecial))];
    case 1: return static_cast<float>((rng.uniform() - 0.5) * 200.0);
    default: return std::bit_cast<float>(static_cast<uint32_t>(rng.next()));
  }
}
Lanes any_lanes(Rng& rng) {
  Lanes lanes;
  for (float& x : lanes) x = any_float(rng);
  return lanes;
}

// The same value and sign; any NaN equals any other.
bool same(float a, float b) {
  return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b) || (std::isnan(a) && std::isnan(b));
}

float lane_result(LaneOp op, float a, float b, float c) {
  switch (op) {
    case LaneOp::kAdd: return a + b;
    case LaneOp::kSub: return a - b;
    case LaneOp::kMul: return a * b;
    case LaneOp::kDiv: return a / b;
    case LaneOp::kFma: return std::fma(a, b, c);
    case LaneOp::kMax: return a > b ? a : b;
    case LaneOp::kMin: return a < b ? a : b;
    case LaneOp::kAbs: return std::abs(a);
    case LaneOp::kSelectLess: return a < b ? c : a;
    default: return a;  // kBits
  }
}

TEST(Isa, EveryInstructionSetOfThisMachineIsProbed) {
  const auto tables = testing::machine_kernels();
  const auto speaks_avx512 = [](const KernelTable* table) { return std::string_view(table->name) == "amx"; };
  const auto without_own_words = static_cast<size_t>(std::count_if(tables.begin(), tables.end(), speaks_avx512));
  EXPECT_EQ(machine_probes().size() + without_own_words, tables.size());
}

TEST(Isa, ArithmeticIsTheFloatOperationInEachLane) {
  testing::for_each_case(300, [](Rng& rng) {
    const Lanes a = any_lanes(rng), b = any_lanes(rng), c = any_lanes(rng);
    for (const Probe* probe : machine_probes()) {
      for (int op = 0; op <= static_cast<int>(LaneOp::kBits); ++op) {
        Lanes out;
        probe->run_lanes(static_cast<LaneOp>(op), a.data(), b.data(), c.data(), out.data());
        for (size_t i = 0; i < 16; ++i) {
          const float expected = lane_result(static_cast<LaneOp>(op), a[i], b[i], c[i]);
          ASSERT_TRUE(same(out[i], expected)) << probe->name << " operation " << op << " of " << a[i] << ", " << b[i]
                                              << ", " << c[i] << " gives " << out[i] << ", not " << expected;
        }
      }
    }
  });
}

TEST(Isa, LanesAreSummedInTheSameTree) {
  testing::for_each_case(300, [](Rng& rng) {
    Lanes a, b;
    for (float& x : a) x = static_cast<float>(std::ldexp(rng.uniform() - 0.5, static_cast<int>(rng.below(30))));
    for (float& x : b) x = static_cast<float>(rng.uniform());
    Lanes tree = a;
    std::array<double, 16> doubles;
    for (size_t i = 0; i < 16; ++i) doubles[i] = static_cast<double>(a[i]) + static_cast<double>(b[i]);
    for (size_t half = 8; half > 0; half /= 2) {
      for (size_t i = 0; i < half; ++i) {
        tree[i] += tree[i + half];
        doubles[i] += doubles[i + half];
      }
    }
    for (const Probe* probe : machine_probes()) {
      Lanes out;
      probe->run_lanes(LaneOp::kSumLanes, a.data(), b.data(), a.data(), out.data());
      ASSERT_EQ(out[0], tree[0]) << probe->name;
      probe->run_lanes(LaneOp::kMaxLanes, a.data(), b.data(), a.data(), out.data());
      ASSERT_EQ(out[0], *std::max_element(a.begin(), a.end())) << probe->name;
      probe->run_lanes(LaneOp::kSumLanesDouble, a.data(), b.data(), a.data(), out.data());
      ASSERT_EQ(out[0], static_cast<float>(doubles[0])) << probe->name;
    }
  });
}

TEST(Isa, PartialLoadsAndStoresTouchOnlyTheirLanes) {
  Lanes source;
  for (size_t i = 0; i < 16; ++i) source[i] = static_cast<float>(i) + 1.0f;
  for (const Probe* probe : machine_probes()) {
    for (int n = 0; n <= 16; ++n) {
      // Exactly n floats at the end of an allocation: AddressSanitizer sees any further read.
      const std::vector<float> exact(source.begin(), source.begin() + n);
      Lanes loaded, stored;
      stored.fill(-7.0f);
      probe->load_first(exact.data(), n, loaded.data());
      probe->store_first(source.data(), n, stored.data());
      for (int i = 0; i < 16; ++i) {
        const auto at = static_cast<size_t>(i);
        EXPECT_EQ(loaded[at], i < n ? source[at] : 0.0f) << probe->name << " n " << n;
        EXPECT_EQ(stored[at], i < n ? source[at] : -7.0f) << probe->name << " n " << n;
      }
    }
  }
}

TEST(Isa, AllHalvesConvert) {
  for (const Probe* probe : machine_probes()) {
    for (uint32_t base = 0; base < 0x10000; base += 16) {
      std::array<uint16_t, 16> halves;
      Lanes floats, brain;
      for (uint32_t i = 0; i < 16; ++i) halves[i] = static_cast<uint16_t>(base + i);
      probe->from_half(halves.data(), floats.data());
      probe->from_bfloat16(halves.data(), brain.data());
      for (size_t i = 0; i < 16; ++i) {
        ASSERT_TRUE(same(floats[i], half_to_float(halves[i]))) << probe->name << " " << halves[i];
        ASSERT_TRUE(same(brain[i], bfloat16_to_float(halves[i]))) << probe->name << " " << halves[i];
      }
    }
  }
}

int32_t integer_result(IntegerOp op, const std::array<int32_t, 16>& a, const std::array<int32_t, 16>& b, size_t i) {
  const auto x = static_cast<uint32_t>(a[i]);
  uint32_t sum = 0;
  switch (op) {
    case IntegerOp::kAdd: return static_cast<int32_t>(x + static_cast<uint32_t>(b[i]));
    case IntegerOp::kMultiply: return static_cast<int32_t>(x * static_cast<uint32_t>(b[i]));
    case IntegerOp::kShiftLeft: return static_cast<int32_t>(x << 7);
    case IntegerOp::kField: return static_cast<int32_t>((x >> 11) & 0x3FFu);
    case IntegerOp::kToFloat: return std::bit_cast<int32_t>(static_cast<float>(a[i]));
    case IntegerOp::kRound: return static_cast<int32_t>(std::nearbyint(std::bit_cast<float>(a[i])));
    case IntegerOp::kThroughBytes: return static_cast<int8_t>(x);
    case IntegerOp::kWidenBytes: return static_cast<uint8_t>(static_cast<uint32_t>(a[i / 4]) >> (i % 4 * 8));
    case IntegerOp::kWidenHalfWords: return static_cast<uint16_t>(static_cast<uint32_t>(a[i / 2]) >> (i % 2 * 16));
    case IntegerOp::kThroughHalfWords: return static_cast<uint16_t>(x);
    case IntegerOp::kDotPairs:
      for (const int shift : {0, 16}) {
        const auto half = [shift](int32_t v) { return static_cast<int16_t>(static_cast<uint32_t>(v) >> shift); };
        sum += static_cast<uint32_t>(half(a[i]) * half(b[i]));
      }
      return static_cast<int32_t>(sum - 5);
    case IntegerOp::kDotBytes:
      for (const int shift : {0, 8, 16, 24}) {
        const auto byte = [shift](int32_t v) { return static_cast<uint8_t>(static_cast<uint32_t>(v) >> shift); };
        sum += static_cast<uint32_t>(byte(a[i]) * static_cast<int8_t>(byte(b[i])));
      }
      return static_cast<int32_t>(sum - 5);
    case IntegerOp::kSumLanes:
      for (const int32_t term : a) sum += static_cast<uint32_t>(term);
      return static_cast<int32_t>(sum);
  }
  return 0;
}

TEST(Isa, IntegersWrapAndRoundTiesToEven) {
  testing::for_each_case(500, [](Rng& rng) {
    std::array<int32_t, 16> bits, other, halves;
    for (size_t i = 0; i < 16; ++i) {
      bits[i] = static_cast<int32_t>(rng.next());
      other[i] = static_cast<int32_t>(rng.next());
      const double quarters = static_cast<double>(static_cast<int>(rng.below(4000)) - 2000) / 4.0;
      halves[i] = std::bit_cast<int32_t>(static_cast<float>(quarters));
    }
    for (const Probe* probe : machine_probes()) {
      for (const IntegerOp op :
           {IntegerOp::kAdd, IntegerOp::kMultiply, IntegerOp::kShiftLeft, IntegerOp::kField, IntegerOp::kToFloat,
            IntegerOp::kRound, IntegerOp::kThroughBytes, IntegerOp::kWidenBytes, IntegerOp::kWidenHalfWords,
            IntegerOp::kThroughHalfWords, IntegerOp::kDotPairs, IntegerOp::kDotBytes, IntegerOp::kSumLanes}) {
        const auto& in = op == IntegerOp::kRound ? halves : bits;
        std::array<int32_t, 16> out;
        probe->run_integers(op, in.data(), other.data(), out.data());
        for (size_t i = 0; i < 16; ++i) {
          ASSERT_EQ(out[i], integer_result(op, in, other, i)) << probe->name << " operation " << static_cast<int>(op);
        }
      }
    }
  });
}

int byte_result(ByteOp op, const std::array<uint8_t, 64>& a, const std::array<uint8_t, 64>& b, uint64_t mask,
                size_t i) {
  switch (op) {
    case ByteOp::kOr: return a[i] | b[i];
    case ByteOp::kAdd: return a[i] + b[i];
    case ByteOp::kSub: return a[i] - b[i];
    case ByteOp::kAddWhere: return a[i] + ((mask >> i) % 2 == 1 ? b[i] : 0);
    case ByteOp::kSet: return 0xC8;
    case ByteOp::kRepeat: return a[i % 16];
    case ByteOp::kLookup: return a[i / 16 * 16 + b[i] % 16];
    case ByteOp::kField: return (a[i] >> 2) & 3;
    case ByteOp::kRaisedField: return (a[i] << 2) & (3 << 4);
  }
  return 0;
}

TEST(Isa, BytesWrapAndTablesAreLookedUpInRunsOfSixteen) {
  testing::for_each_case(500, [](Rng& rng) {
    std::array<uint8_t, 64> a, b, out;
    for (uint8_t& x : a) x = static_cast<uint8_t>(rng.next());
    for (uint8_t& x : b) x = static_cast<uint8_t>(rng.next());
    const uint64_t mask = rng.next();
    for (const Probe* probe : machine_probes()) {
      for (const ByteOp op : {ByteOp::kOr, ByteOp::kAdd, ByteOp::kSub, ByteOp::kAddWhere, ByteOp::kSet, ByteOp::kRepeat,
                              ByteOp::kLookup, ByteOp::kField, ByteOp::kRaisedField}) {
        probe->run_bytes(op, a.data(), b.data(), mask, out.data());
        for (size_t i = 0; i < 64; ++i) {
          ASSERT_EQ(out[i], static_cast<uint8_t>(byte_result(op, a, b, mask, i)))
              << probe->name << " operation " << static_cast<int>(op) << " byte " << i;
        }
      }
    }
  });
}

float exp_of(const Probe& probe, LaneOp op, float x) {
  Lanes in, out;
  in.fill(x);
  probe.run_lanes(op, in.data(), in.data(), in.data(), out.data());
  return out[0];
}

TEST(Isa, ExpIsWithinOneUlpOverItsWholeRange) {
  double worst = 0.0;
  for (double from = -87.3; from < 88.7; from += 16 * 0.0007) {
    Lanes x, first;
    for (size_t i = 0; i < 16; ++i)
      x[i] = static_cast<float>(std::min(from + static_cast<double>(i) * 0.0007, 88.7228));
    bool have_first = false;
    for (const Probe* probe : machine_probes()) {
      Lanes y;
      probe->run_lanes(LaneOp::kExp, x.data(), x.data(), x.data(), y.data());
      if (!have_first) first = y;
      have_first = true;
      ASSERT_EQ(std::memcmp(first.data(), y.data(), sizeof y), 0) << probe->name << " differs near " << from;
    }
    for (size_t i = 0; i < 16; ++i) {
      const double exact = std::exp(static_cast<double>(x[i]));
      const double ulp = std::ldexp(1.0, std::ilogb(exact) - 23);
      worst = std::max(worst, std::abs(static_cast<double>(first[i]) - exact) / ulp);
    }
  }
  EXPECT_LT(worst, 1.0);
  RecordProperty("worst_ulp", std::to_string(worst));
}

TEST(Isa, ExpAtItsEnds) {
  for (const Probe* probe : machine_probes()) {
    const auto at = [&](float x) { return exp_of(*probe, LaneOp::kExp, x); };
    EXPECT_EQ(at(0.0f), 1.0f) << probe->name;
    EXPECT_EQ(at(-0.0f), 1.0f) << probe->name;
    EXPECT_EQ(at(1e-42f), 1.0f) << probe->name;
    EXPECT_EQ(at(-87.34f), 0.0f) << probe->name;
    EXPECT_EQ(at(-104.0f), 0.0f) << probe->name;
    EXPECT_EQ(at(-1e30f), 0.0f) << probe->name;
    EXPECT_EQ(at(-kInfinity), 0.0f) << probe->name;
    EXPECT_GE(at(-87.33654f), 0x1p-126f) << probe->name;  // The last normal number.
    EXPECT_LT(at(88.72283f), kInfinity) << probe->name;
    EXPECT_GT(at(88.72283f), 3.402e38f) << probe->name;
    EXPECT_EQ(at(88.72284f), kInfinity) << probe->name;
    EXPECT_EQ(at(1e30f), kInfinity) << probe->name;
    EXPECT_EQ(at(kInfinity), kInfinity) << probe->name;
    EXPECT_TRUE(std::isnan(at(kNaN))) << probe->name;
  }
}

TEST(Isa, ExpOfNothingPositiveHasTheSameBits) {
  testing::for_each_case(2000, [](Rng& rng) {
    Lanes x;
    for (float& value : x) value = -std::abs(any_float(rng));
    for (const Probe* probe : machine_probes()) {
      Lanes general, faster;
      probe->run_lanes(LaneOp::kExp, x.data(), x.data(), x.data(), general.data());
      probe->run_lanes(LaneOp::kExpNotPositive, x.data(), x.data(), x.data(), faster.data());
      for (size_t i = 0; i < 16; ++i) ASSERT_TRUE(same(general[i], faster[i])) << probe->name << " " << x[i];
    }
  });
}

}  // namespace
}  // namespace infer::kernels
