// Every kernel is held against the plain definition in double, for each instruction set that this machine runs, and the
// instruction sets against each other bit for bit.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "base/rng.h"
#include "kernels/kernel_table.h"
#include "testing/machine_kernels.h"
#include "testing/property.h"

namespace infer::kernels {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr double kHalfUlp = 0x1p-24;  // Largest relative error of one rounding to float.

// Lengths around every tail, and sizes of real models.
std::vector<int> lengths() {
  std::vector<int> n;
  for (int i = 1; i <= 67; ++i) n.push_back(i);
  n.insert(n.end(), {256, 576, 2048, 4096 + 3});
  return n;
}

// Floats that lie 4 bytes off any vector boundary, between guards that a kernel must not touch.
class Guarded {
 public:
  explicit Guarded(int n) : storage_(static_cast<size_t>(n) + 2 * kGuard + 1, kGuardValue), size_(n) {}
  explicit Guarded(std::span<const float> values) : Guarded(static_cast<int>(values.size())) {
    std::copy(values.begin(), values.end(), data());
  }
  float* data() { return storage_.data() + kGuard + 1; }
  const float* data() const { return storage_.data() + kGuard + 1; }
  float& operator[](int i) { return data()[i]; }
  float operator[](int i) const { return data()[i]; }
  int size() const { return size_; }
  bool guards_intact() const {
    const auto is_guard = [](float v) { return v == kGuardValue; };
    return std::all_of(storage_.begin(), storage_.begin() + kGuard + 1, is_guard) &&
           std::all_of(storage_.end() - kGuard, storage_.end(), is_guard);
  }

 private:
  static constexpr int kGuard = 32;
  static constexpr float kGuardValue = 12345.0f;
  std::vector<float> storage_;
  int size_;
};

float normal(Rng& rng) {
  const double radius = std::sqrt(-2.0 * std::log(1.0 - rng.uniform()));
  return static_cast<float>(radius * std::cos(6.283185307179586 * rng.uniform()));
}

Guarded random_floats(Rng& rng, int n, float scale = 1.0f) {
  Guarded x(n);
  for (int i = 0; i < n; ++i) x[i] = normal(rng) * scale;
  return x;
}

bool same_bits(const Guarded& a, const Guarded& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), static_cast<size_t>(a.size()) * sizeof(float)) == 0;
}

// Runs `compute` (which returns an output) with every table; checks guards and that all tables give the same bits.
// Returns the common output.
Guarded on_every_isa(const std::function<Guarded(const KernelTable&)>& compute) {
  std::vector<Guarded> outputs;
  for (const KernelTable* table : testing::machine_kernels()) {
    outputs.push_back(compute(*table));
    EXPECT_TRUE(outputs.back().guards_intact()) << table->name << " writes outside its output";
    EXPECT_TRUE(same_bits(outputs.front(), outputs.back()))
        << table->name << " and " << testing::machine_kernels()[0]->name << " differ";
  }
  return outputs.front();
}

TEST(VectorMath, RmsNormDividesByTheRootOfTheMeanSquare) {
  for (const int n : lengths()) {
    Rng rng(static_cast<uint64_t>(n));
    const Guarded x = random_floats(rng, n, 3.0f), weight = random_floats(rng, n);
    const Guarded out = on_every_isa([&](const KernelTable& table) {
      Guarded y(n);
      table.rms_norm(x.data(), weight.data(), n, 1e-5f, y.data());
      return y;
    });
    double squares = 0.0;
    for (int i = 0; i < n; ++i) squares += static_cast<double>(x[i]) * static_cast<double>(x[i]);
    const double factor = 1.0 / std::sqrt(squares / n + static_cast<double>(1e-5f));
    // A lane adds n / 16 squares (each sum rounded once), the tree 4 more; half of that after the root; then five more
    // roundings (mean, + eps, root, reciprocal, two products).
    const double tolerance = (0.5 * (n / 16 + 1 + 4) + 6) * kHalfUlp;
    for (int i = 0; i < n; ++i) {
      const double expected = static_cast<double>(x[i]) * factor * static_cast<double>(weight[i]);
      ASSERT_NEAR(static_cast<double>(out[i]), expected, std::abs(expected) * tolerance) << "n " << n << " at " << i;
    }
  }
}

TEST(VectorMath, RmsNormMayWorkInPlace) {
  Rng rng(7);
  const Guarded x = random_floats(rng, 77), weight = random_floats(rng, 77);
  for (const KernelTable* table : testing::machine_kernels()) {
    Guarded apart(77), in_place = x;
    table->rms_norm(x.data(), weight.data(), 77, 1e-6f, apart.data());
    table->rms_norm(in_place.data(), weight.data(), 77, 1e-6f, in_place.data());
    EXPECT_TRUE(same_bits(apart, in_place)) << table->name;
  }
}

TEST(VectorMath, RmsNormOfZerosIsZero) {
  Guarded x(33), weight(33);
  for (int i = 0; i < 33; ++i) x[i] = 0.0f;
  const Guarded out = on_every_isa([&](const KernelTable& table) {
    Guarded y(33);
    table.rms_norm(x.data(), weight.data(), 33, 1e-5f, y.data());
    return y;
  });
  for (int i = 0; i < 33; ++i) EXPECT_EQ(out[i], 0.0f);
}

TEST(VectorMath, SiluMultiplyGatesTheOtherInput) {
  for (const int n : lengths()) {
    Rng rng(static_cast<uint64_t>(n) + 1000);
    const Guarded gate = random_floats(rng, n, 8.0f), up = random_floats(rng, n);
    const Guarded out = on_every_isa([&](const KernelTable& table) {
      Guarded y(n);
      table.silu_multiply(gate.data(), up.data(), n, y.data());
      return y;
    });
    for (int i = 0; i < n; ++i) {
      const double g = static_cast<double>(gate[i]);
      const double expected = g / (1.0 + std::exp(-g)) * static_cast<double>(up[i]);
      // exp within 1 ulp (two half ulps), then the sum, the quotient and the product are rounded.
      ASSERT_NEAR(static_cast<double>(out[i]), expected, std::abs(expected) * 5.5 * kHalfUlp) << "n " << n;
    }
  }
}

TEST(VectorMath, SiluMultiplyHoldsAtTheEndsOfTheRange) {
  const std::vector<float> gates = {-1e30f, -500.0f, -104.0f, -88.73f, -88.7f, -0.0f, 0.0f, 1e-40f, 88.0f, 1e4f, 1e30f};
  const int n = static_cast<int>(gates.size());
  const Guarded gate{std::span<const float>(gates)};
  const Guarded ones{std::span<const float>(std::vector<float>(gates.size(), 1.0f))};
  const Guarded out = on_every_isa([&](const KernelTable& table) {
    Guarded y(n);
    table.silu_multiply(gate.data(), ones.data(), n, y.data());
    return y;
  });
  for (int i = 0; i < n; ++i) {
    const double g = static_cast<double>(gate[i]);
    // Where exp(-g) overflows the true value is below 1e-36; 0 is right enough.
    EXPECT_NEAR(static_cast<double>(out[i]), g / (1.0 + std::exp(-g)), std::max(1e-36, std::abs(g) * 4e-7)) << g;
  }
}

TEST(VectorMath, SiluMultiplyMayWriteOverEitherInput) {
  Rng rng(9);
  const Guarded gate = random_floats(rng, 45), up = random_floats(rng, 45);
  for (const KernelTable* table : testing::machine_kernels()) {
    Guarded apart(45), over_gate = gate, over_up = up;
    table->silu_multiply(gate.data(), up.data(), 45, apart.data());
    table->silu_multiply(over_gate.data(), up.data(), 45, over_gate.data());
    table->silu_multiply(gate.data(), over_up.data(), 45, over_up.data());
    EXPECT_TRUE(same_bits(apart, over_gate)) << table->name;
    EXPECT_TRUE(same_bits(apart, over_up)) << table->name;
  }
}

TEST(VectorMath, LayerNormRemovesTheMeanAndDividesByTheDeviation) {
  for (const int n : lengths()) {
    Rng rng(static_cast<uint64_t>(n) + 5000);
    Guarded x = random_floats(rng, n, 3.0f);
    const Guarded weight = random_floats(rng, n), bias = random_floats(rng, n);
    for (int i = 0; i < n; ++i) x[i] += 0.5f;
    for (const bool has_bias : {true, false}) {
      const Guarded out = on_every_isa([&](const KernelTable& table) {
        Guarded y(n);
        table.layer_norm(x.data(), weight.data(), has_bias ? bias.data() : nullptr, n, 1e-5f, y.data());
        return y;
      });
      double mean = 0.0, variance = 0.0;
      for (int i = 0; i < n; ++i) mean += static_cast<double>(x[i]) / n;
      for (int i = 0; i < n; ++i) variance += std::pow(static_cast<double>(x[i]) - mean, 2) / n;
      const double factor = 1.0 / std::sqrt(variance + static_cast<double>(1e-5f));
      for (int i = 0; i < n; ++i) {
        const double scaled = (static_cast<double>(x[i]) - mean) * factor * static_cast<double>(weight[i]);
        const double expected = scaled + (has_bias ? static_cast<double>(bias[i]) : 0.0);
        // The mean of numbers up to 12 is exact to n / 16 roundings of the sum; divided by the deviation, 3 or, for few
        // numbers, as little as the root of eps.
        const double of_mean = (n / 16 + 6) * kHalfUlp * 12.0 * factor * std::abs(static_cast<double>(weight[i]));
        const double tolerance = of_mean + (0.5 * (n / 16 + 5) + 8) * kHalfUlp * (std::abs(scaled) + 2.0);
        ASSERT_NEAR(static_cast<double>(out[i]), expected, tolerance) << "n " << n << " at " << i;
      }
    }
  }
}

TEST(VectorMath, LayerNormMayWorkInPlaceAndOfEqualNumbersIsTheBias) {
  Rng rng(8);
  const Guarded x = random_floats(rng, 77), weight = random_floats(rng, 77), bias = random_floats(rng, 77);
  Guarded equal(77);
  for (int i = 0; i < 77; ++i) equal[i] = 2.0f;
  for (const KernelTable* table : testing::machine_kernels()) {
    Guarded apart(77), in_place = x;
    table->layer_norm(x.data(), weight.data(), bias.data(), 77, 1e-6f, apart.data());
    table->layer_norm(in_place.data(), weight.data(), bias.data(), 77, 1e-6f, in_place.data());
    EXPECT_TRUE(same_bits(apart, in_place)) << table->name;
    table->layer_norm(equal.data(), weight.data(), bias.data(), 77, 1e-6f, apart.data());
    EXPECT_TRUE(same_bits(apart, bias)) << table->name;
  }
}

double gelu_of(double x) { return 0.5 * x * (1.0 + std::tanh(0.7978845608028654 * (x + 0.044715 * x * x * x))); }

TEST(VectorMath, GeluAndItsGatedFormAreTheTanhFormula) {
  for (const int n : lengths()) {
    Rng rng(static_cast<uint64_t>(n) + 6000);
    const Guarded gate = random_floats(rng, n, 2.0f), up = random_floats(rng, n);
    const Guarded alone = on_every_isa([&](const KernelTable& table) {
      Guarded y = gate;
      table.gelu(y.data(), n, y.data());
      return y;
    });
    const Guarded gated = on_every_isa([&](const KernelTable& table) {
      Guarded y = up;
      table.gelu_multiply(gate.data(), y.data(), n, y.data());
      return y;
    });
    for (int i = 0; i < n; ++i) {
      const double expected = gelu_of(static_cast<double>(gate[i]));
      // The exponent (up to 20 where the result counts) is rounded three times; 1e-12: what is left of tanh's 1 - 1.
      const double tolerance = std::abs(expected) * 80 * kHalfUlp + 1e-12;
      ASSERT_NEAR(static_cast<double>(alone[i]), expected, tolerance) << gate[i];
      ASSERT_NEAR(static_cast<double>(gated[i]), expected * static_cast<double>(up[i]),
                  tolerance * (1 + std::abs(static_cast<double>(up[i]))));
    }
  }
}

TEST(VectorMath, ActivationsHoldAtTheEndsOfTheRange) {
  const std::vector<float> ends = {-kInfinity, -1e30f, -500.0f, -10.0f, -0.0f, 0.0f, 10.0f, 1e4f, 1e15f};
  const std::vector<float> rectified = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 10.0f, 1e4f, 1e15f};
  for (const KernelTable* table : testing::machine_kernels()) {
    Guarded x{std::span<const float>(ends)}, capped = x, clipped = x;
    const int n = x.size();
    const Guarded zeros(n);
    table->gelu(x.data() + 1, n - 1, x.data() + 1);
    table->soft_cap(30.0f, n, capped.data());
    const Guarded up{std::span<const float>(std::vector<float>(ends.size(), -100.0f))};
    table->clipped_swiglu(clipped.data(), up.data(), n, 7.0f, clipped.data());
    for (int i = 0; i < n; ++i) {
      const auto at = static_cast<size_t>(i);
      if (std::abs(ends[at]) > 400) {
        EXPECT_EQ(capped[i], std::copysign(30.0f, ends[at])) << ends[at];
      }
      if (i == 0) continue;  // Infinite inputs are NaN to the others.
      EXPECT_NEAR(x[i], rectified[at], 1e-20f) << ends[at];
      const double g = std::min(7.0, static_cast<double>(ends[at]));
      EXPECT_NEAR(static_cast<double>(clipped[i]), g / (1 + std::exp(-1.702 * g)) * -6.0, 1e-5) << ends[at];
    }
  }
}

TEST(VectorMath, SoftCapAndClippedSwigluAreTheirFormulas) {
  for (const int n : lengths()) {
    Rng rng(static_cast<uint64_t>(n) + 7000);
    const Guarded x = random_floats(rng, n, 40.0f), gate = random_floats(rng, n, 4.0f);
    const Guarded up = random_floats(rng, n, 4.0f);
    const Guarded capped = on_every_isa([&](const KernelTable& table) {
      Guarded y = x;
      table.soft_cap(30.0f, n, y.data());
      return y;
    });
    const Guarded gated = on_every_isa([&](const KernelTable& table) {
      Guarded y(n);
      table.clipped_swiglu(gate.data(), up.data(), n, 7.0f, y.data());
      return y;
    });
    for (int i = 0; i < n; ++i) {
      ASSERT_NEAR(static_cast<double>(capped[i]), 30.0 * std::tanh(static_cast<double>(x[i]) / 30.0), 30 * 3e-7);
      const double g = std::min(7.0, static_cast<double>(gate[i]));
      const double u = std::clamp(static_cast<double>(up[i]), -7.0, 7.0);
      const double expected = g / (1.0 + std::exp(-1.702 * g)) * (u + 1.0);
      // The exponent, up to 30, is rounded twice (1.702 is no float); u + 1 may cancel.
      ASSERT_NEAR(static_cast<double>(gated[i]), expected, std::abs(expected) * 70 * kHalfUlp + 8 * 8 * kHalfUlp);
    }
  }
}

TEST(VectorMath, AddAndScaleAreTheFloatOperations) {
  for (const int n : lengths()) {
    Rng rng(static_cast<uint64_t>(n) + 2000);
    const Guarded x = random_floats(rng, n), start = random_floats(rng, n);
    const Guarded sum = on_every_isa([&](const KernelTable& table) {
      Guarded y = start;
      table.add(x.data(), n, y.data());
      return y;
    });
    const Guarded scaled = on_every_isa([&](const KernelTable& table) {
      Guarded y = start;
      table.scale(0.37f, n, y.data());
      return y;
    });
    for (int i = 0; i < n; ++i) {
      ASSERT_EQ(sum[i], start[i] + x[i]);
      ASSERT_EQ(scaled[i], start[i] * 0.37f);
    }
  }
}

TEST(VectorMath, RopeRotatesEachPairByItsAngle) {
  for (int pairs = 1; pairs <= 67; ++pairs) {
    Rng rng(static_cast<uint64_t>(pairs) + 3000);
    Guarded cosine(pairs), sine(pairs);
    for (int i = 0; i < pairs; ++i) {
      const double angle = rng.uniform() * 6.283185307179586;
      cosine[i] = static_cast<float>(std::cos(angle));
      sine[i] = static_cast<float>(std::sin(angle));
    }
    const Guarded head = random_floats(rng, 2 * pairs);
    for (const bool adjacent : {true, false}) {
      const Guarded out = on_every_isa([&](const KernelTable& table) {
        Guarded y = head;
        (adjacent ? table.rope_adjacent : table.rope_halves)(cosine.data(), sine.data(), pairs, y.data());
        return y;
      });
      for (int i = 0; i < pairs; ++i) {
        const int first = adjacent ? 2 * i : i, second = adjacent ? 2 * i + 1 : i + pairs;
        const double a = static_cast<double>(head[first]), b = static_cast<double>(head[second]);
        const double c = static_cast<double>(cosine[i]), s = static_cast<double>(sine[i]);
        // Two products and their sum, each rounded: at most 2 half ulps of |a| + |b|.
        const double tolerance = 2.0 * kHalfUlp * (std::abs(a) + std::abs(b));
        ASSERT_NEAR(static_cast<double>(out[first]), a * c - b * s, tolerance) << adjacent << " pair " << i;
        ASSERT_NEAR(static_cast<double>(out[second]), a * s + b * c, tolerance) << adjacent << " pair " << i;
      }
    }
  }
}

// exp is no entry of its own: the sum over one far term and a 0 shows it. log_sum_exp({x, 0}) for x < 0 is log(1 +
// e^x).
TEST(VectorMath, LogSumExpKeepsSmallTerms) {
  for (double x = -60.0; x <= 0.0; x += 0.0173) {
    const float floats[2] = {static_cast<float>(x), 0.0f};
    for (const KernelTable* table : testing::machine_kernels()) {
      const double expected = std::log1p(std::exp(static_cast<double>(floats[0])));
      // e^x to 1 ulp of float, and the logarithm of 1 + e^x in double.
      ASSERT_NEAR(table->log_sum_exp(floats, 2), expected, expected * 0x1p-23 + 0x1p-52) << table->name << " x " << x;
    }
  }
}

double log_sum_exp_in_double(const Guarded& x) {
  long double top = -std::numeric_limits<long double>::infinity(), sum = 0.0L;
  for (int i = 0; i < x.size(); ++i) top = std::max(top, static_cast<long double>(x[i]));
  for (int i = 0; i < x.size(); ++i) sum += std::exp(static_cast<long double>(x[i]) - top);
  return static_cast<double>(top + std::log(sum));
}

double log_sum_exp_on_every_isa(const Guarded& x) {
  const double first = testing::machine_kernels()[0]->log_sum_exp(x.data(), x.size());
  for (const KernelTable* table : testing::machine_kernels()) {
    const double value = table->log_sum_exp(x.data(), x.size());
    EXPECT_EQ(std::bit_cast<uint64_t>(value), std::bit_cast<uint64_t>(first)) << table->name;
  }
  return first;
}

TEST(VectorMath, LogSumExpIsWithinOneUlpOfFloatRelativeToTheSum) {
  std::vector<int> sizes = lengths();
  sizes.push_back(128256);
  for (const int n : sizes) {
    for (const float scale : {0.01f, 3.0f, 40.0f, 1e4f}) {
      Rng rng(static_cast<uint64_t>(n) + 4000);
      const Guarded x = random_floats(rng, n, scale);
      const double expected = log_sum_exp_in_double(x);
      ASSERT_NEAR(log_sum_exp_on_every_isa(x), expected, 0x1p-23 + std::abs(expected) * 0x1p-52) << n << " " << scale;
    }
  }
}

// All but one term at the same distance from the greatest: rounding that distance would be the same error for each.
TEST(VectorMath, LogSumExpDoesNotLoseTheRoundingOfTheDistance) {
  for (const float distance : {11.3000001f, 9.87654321f, 13.1313131f}) {
    Guarded x(100001);
    for (int i = 0; i < x.size(); ++i) x[i] = 0.1234567f;
    x[77777] = 0.1234567f + distance;
    EXPECT_NEAR(log_sum_exp_on_every_isa(x), log_sum_exp_in_double(x), 0x1p-23) << distance;
  }
}

TEST(VectorMath, LogSumExpOfExtremes) {
  const auto of = [](std::vector<float> values) {
    return log_sum_exp_on_every_isa(Guarded(std::span<const float>(values)));
  };
  EXPECT_EQ(of({-kInfinity, -kInfinity}), -static_cast<double>(kInfinity));
  EXPECT_EQ(of({1.0f, kInfinity}), static_cast<double>(kInfinity));
  EXPECT_DOUBLE_EQ(of({-kInfinity, 5.0f, -kInfinity}), 5.0);
  EXPECT_DOUBLE_EQ(of({1e4f, -1e4f, 0.0f}), 1e4);
  EXPECT_DOUBLE_EQ(of({-3e38f}), static_cast<double>(-3e38f));
  EXPECT_DOUBLE_EQ(of({3e38f, -3e38f}), static_cast<double>(3e38f));
  EXPECT_NEAR(of(std::vector<float>(20, 1e-41f)), std::log(20.0), 1e-7);
  for (const KernelTable* table : testing::machine_kernels()) {
    const float with_nan[3] = {1.0f, kNaN, 2.0f};
    EXPECT_TRUE(std::isnan(table->log_sum_exp(with_nan, 3))) << table->name;
    EXPECT_EQ(table->log_sum_exp(with_nan, 0), -static_cast<double>(kInfinity)) << table->name;
  }
}

TEST(VectorMath, ElementsDoNotDependOnTheirNeighbours) {
  testing::for_each_case(50, [](Rng& rng) {
    const int n = 1 + static_cast<int>(rng.below(200)), cut = static_cast<int>(rng.below(static_cast<uint32_t>(n)));
    const Guarded gate = random_floats(rng, n, 5.0f), up = random_floats(rng, n);
    for (const KernelTable* table : testing::machine_kernels()) {
      Guarded whole(n), parts(n);
      table->silu_multiply(gate.data(), up.data(), n, whole.data());
      table->silu_multiply(gate.data(), up.data(), cut, parts.data());
      table->silu_multiply(gate.data() + cut, up.data() + cut, n - cut, parts.data() + cut);
      ASSERT_TRUE(same_bits(whole, parts)) << table->name << " n " << n << " cut " << cut;
    }
  });
}

}  // namespace
}  // namespace infer::kernels
