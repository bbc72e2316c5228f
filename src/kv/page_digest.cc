#include "kv/page_digest.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "base/check.h"

namespace infer::kv {

using kernels::AttentionPage;
using kernels::kHeadDimMax;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
// What sums of doubles here may lack, as a part of themselves: far more than 1000 roundings.
constexpr double kRoundedUp = 1.0 + 1e-12;
constexpr int kLanes = 16;
// What sums of floats in bound() may lack, as a part of their terms: 64 u.
constexpr double kRounding = 0x1.0p-18;

// Behind the codes: what they are multiplied by, and the radii.
struct Factors {
  float centroid;
  float reach;
  float radius;
};
// int8 centroid[head_dim], uint8 above[head_dim], uint8 below[head_dim], Factors.
Factors factors_of(const std::byte* digest, int head_dim) {
  Factors factors;
  std::memcpy(&factors, digest + 3 * head_dim, sizeof factors);
  return factors;
}

float round_up(double x) {
  const auto nearest = static_cast<float>(x);
  return static_cast<double>(nearest) >= x ? nearest : std::nextafter(nearest, kInfinity);
}
// With a significand of 8 bits, so that products with codes are exact.
float scale_up(double x) {
  const uint32_t bits = std::bit_cast<uint32_t>(round_up(x));
  return std::bit_cast<float>((bits + 0xFFFF) & 0xFFFF0000u);
}

template <class T>
T at(const std::byte* bytes, size_t index) {
  T value;
  std::memcpy(&value, bytes + index * sizeof(T), sizeof value);
  return value;
}
double bfloat16_at(const std::byte* bytes, size_t index) {
  return std::bit_cast<float>(uint32_t{at<uint16_t>(bytes, index)} << 16);
}

// The keys of a page, a dimension at a time, as its levels have them. Layout: AttentionPage.
class PageKeys {
 public:
  PageKeys(const AttentionPage& page, int head_dim) : page_(page), head_dim_(static_cast<size_t>(head_dim)) {
    const std::byte* const scales =
        page.full != nullptr ? page.full + kTokens * head_dim_ * 4 : page.high + kTokens * head_dim_;
    for (size_t t = 0; t < kTokens; ++t) {
      scales_[t] = page.full != nullptr ? static_cast<double>(at<float>(scales, t)) : bfloat16_at(scales, t);
    }
  }

  // A token that has none was not a number; codes of all others stand for finite ones.
  bool have_scales() const;
  int count() const {
    return page_.full == nullptr && page_.low != nullptr ? 2 * kernels::kPageTokens : kernels::kPageTokens;
  }
  // Dimension d of all keys; of two planes first at 4, then at 8 bits.
  void column(int d, double* keys) const {
    if (page_.full != nullptr) {
      for (size_t t = 0; t < kTokens; ++t) keys[t] = scales_[t] * full_code(static_cast<size_t>(d), t);
    } else {
      plane_column(static_cast<size_t>(d), keys);
    }
  }

 private:
  static constexpr size_t kTokens = kernels::kPageTokens;
  double full_code(size_t d, size_t token) const {
    return at<int16_t>(page_.full, (d / 2 * kTokens + token) * 2 + d % 2);
  }
  void plane_column(size_t d, double* keys) const;

  const AttentionPage& page_;
  size_t head_dim_;
  std::array<double, kTokens> scales_;
};

bool PageKeys::have_scales() const {
  const bool mean_is_finite =
      page_.full != nullptr ||
      std::isfinite(at<float>(page_.high + kTokens * head_dim_ + 4 * kTokens + 2 * head_dim_, 0));
  return mean_is_finite && std::all_of(scales_.begin(), scales_.end(), [](double x) { return std::isfinite(x); });
}

void PageKeys::plane_column(size_t d, double* keys) const {
  const std::byte* const means = page_.high + kTokens * head_dim_ + 4 * kTokens;
  const double mean = double{at<float>(means + 2 * head_dim_, 0)} * at<int16_t>(means, d);
  const size_t half = head_dim_ / 2, line = d % half / 4;
  for (size_t t = 0; t < kTokens; ++t) {
    const size_t byte = 4 * (line * kTokens + t) + d % 4;
    const int shift = d >= half ? 4 : 0;
    const int high = static_cast<int>(page_.high[byte]) >> shift & 15;
    keys[t] = scales_[t] * (16 * high + 7.5 - 127.5) + mean;
    if (page_.low == nullptr) continue;
    const int low = static_cast<int>(page_.low[byte]) >> shift & 15;
    keys[kTokens + t] = scales_[t] * (16 * high + low - 127.5) + mean;
  }
}

// Codes of the centroid; returns what they are multiplied by.
float store_centroid(const PageKeys& keys, int head_dim, std::byte* codes) {
  std::array<double, 2 * kernels::kPageTokens> column;
  std::array<double, kHeadDimMax> mean;
  double most = 0.0;
  for (int d = 0; d < head_dim; ++d) {
    keys.column(d, column.data());
    double sum = 0.0;
    for (int t = 0; t < keys.count(); ++t) sum += column[static_cast<size_t>(t)];
    mean[static_cast<size_t>(d)] = sum / keys.count();
    most = std::max(most, std::abs(sum / keys.count()));
  }
  const float scale = scale_up(most / 127.0);
  for (size_t d = 0; d < static_cast<size_t>(head_dim); ++d) {
    const double code = scale > 0.0f ? std::nearbyint(mean[d] / double{scale}) : 0.0;
    codes[d] = static_cast<std::byte>(static_cast<int8_t>(std::clamp(code, -127.0, 127.0)));
  }
  return scale;
}

struct Reach {
  std::array<double, kHeadDimMax> above{}, below{};
  double radius = 0.0;
};

double centroid_at(const std::byte* digest, float scale, int d) {
  return double{scale} * static_cast<int8_t>(digest[d]);
}

// From the centroid, at least: a key of a plane is a sum, and was rounded, as its difference is here.
double distance(double key, double centre) {
  return std::abs(key - centre) + 4e-16 * (std::abs(key) + std::abs(centre));
}

// The greatest of sums of squares, as a length.
double length_of_most(std::span<const double> squares) {
  return std::sqrt(*std::max_element(squares.begin(), squares.end())) * kRoundedUp;
}

Reach measure(const PageKeys& keys, int head_dim, const std::byte* digest, float scale) {
  Reach reach;
  std::array<double, 2 * kernels::kPageTokens> column, squares{};
  for (int d = 0; d < head_dim; ++d) {
    keys.column(d, column.data());
    const double centre = centroid_at(digest, scale, d);
    double above = 0.0, below = 0.0;
    for (size_t t = 0; t < static_cast<size_t>(keys.count()); ++t) {
      const double x = distance(column[t], centre);
      (column[t] >= centre ? above : below) = std::max(column[t] >= centre ? above : below, x);
      squares[t] += x * x;
    }
    reach.above[static_cast<size_t>(d)] = above;
    reach.below[static_cast<size_t>(d)] = below;
  }
  reach.radius = length_of_most(squares);
  return reach;
}

// The sums of bound(), in lanes that the compiler keeps in vectors: it may not reorder additions by itself. Plain
// pointers, since checked indices would keep it from that.
struct Lanes {
  float of[kLanes] = {};
  // Adds factor * code for the next of each.
  template <class Code>
  void add(const float* factors, const Code* codes) {
    for (int lane = 0; lane < kLanes; ++lane) of[lane] += factors[lane] * static_cast<float>(codes[lane]);
  }
  double total() {
    for (int half = kLanes / 2; half > 0; half /= 2) {
      for (int lane = 0; lane < half; ++lane) of[lane] += of[lane + half];
    }
    return double{of[0]};
  }
};

}  // namespace

size_t page_digest_bytes(int head_dim) { return 3 * static_cast<size_t>(head_dim) + sizeof(Factors); }

void make_page_digest(const AttentionPage& page, int head_dim, std::byte* digest) {
  INFER_CHECK(head_dim > 0 && head_dim <= kHeadDimMax && head_dim % kLanes == 0);
  const PageKeys keys(page, head_dim);
  if (!keys.have_scales()) {
    std::fill_n(digest, 3 * head_dim, std::byte{1});
    const Factors endless{kInfinity, kInfinity, kInfinity};
    std::memcpy(digest + 3 * head_dim, &endless, sizeof endless);
    return;
  }
  Factors factors{};
  factors.centroid = store_centroid(keys, head_dim, digest);
  const Reach reach = measure(keys, head_dim, digest, factors.centroid);
  double most = 0.0;
  for (size_t d = 0; d < static_cast<size_t>(head_dim); ++d) most = std::max({most, reach.above[d], reach.below[d]});
  factors.reach = scale_up(most / 255.0 * kRoundedUp);
  const auto code_of = [&](double x) {
    return static_cast<std::byte>(x > 0.0 ? std::min(255.0, std::ceil(x / double{factors.reach} * kRoundedUp)) : 0.0);
  };
  for (int d = 0; d < head_dim; ++d) {
    digest[head_dim + d] = code_of(reach.above[static_cast<size_t>(d)]);
    digest[2 * head_dim + d] = code_of(reach.below[static_cast<size_t>(d)]);
  }
  factors.radius = round_up(reach.radius);
  std::memcpy(digest + 3 * head_dim, &factors, sizeof factors);
}

DigestQuery::DigestQuery(std::span<const float> query) : head_dim_(static_cast<int>(query.size())) {
  INFER_CHECK(!query.empty() && head_dim_ <= kHeadDimMax && head_dim_ % kLanes == 0);
  double squares = 0.0;
  for (size_t d = 0; d < query.size(); ++d) {
    squares += double{query[d]} * query[d];
    value_[d] = query[d];
    above_[d] = std::max(query[d], 0.0f);
    below_[d] = std::max(-query[d], 0.0f);
  }
  length_ = std::sqrt(squares) * kRoundedUp;
  rounding_ = kRounding * length_ * 127.0 * std::sqrt(static_cast<double>(head_dim_));
}

// Of rounding: with u = 2^-24, a lane rounds a product and at most 32 additions, and four more follow, so that a sum is
// off by less than 38 u of its terms' magnitudes; the rest is computed in doubles. Terms of the box are not negative;
// those of the centroid are together at most |q| times its length, 127 sqrt(head_dim) factors.centroid at most.
float DigestQuery::bound(const std::byte* digest) const {
  const auto n = static_cast<size_t>(head_dim_);
  const Factors factors = factors_of(digest, head_dim_);
  Lanes centroid, box;
  const auto* const codes = reinterpret_cast<const int8_t*>(digest);
  const auto* const reaches = reinterpret_cast<const uint8_t*>(digest + n);
  for (size_t d = 0; d < n; d += kLanes) {
    centroid.add(value_.data() + d, codes + d);
    box.add(above_.data() + d, reaches + d);
    box.add(below_.data() + d, reaches + n + d);
  }
  const double around_centroid = std::min(double{factors.reach} * box.total(), length_ * factors.radius);
  const double result = double{factors.centroid} * (centroid.total() + rounding_) + around_centroid * (1.0 + kRounding);
  if (std::isnan(result)) return kInfinity;
  // Up by more than the conversion takes away, at half of the smallest float as well.
  return static_cast<float>(result + 0x1.0p-23 * std::abs(result) + 0x1.0p-148);
}

void OmittedMass::add(int tokens, float bound) {
  if (std::isnan(bound)) bound = kInfinity;
  if (double{bound} > max_) {
    sum_ *= std::exp(max_ - double{bound});
    max_ = bound;
  }
  sum_ += tokens * (double{bound} == max_ ? 1.0 : std::exp(double{bound} - max_));
}

double OmittedMass::share(double log_sum_exp) const {
  if (sum_ == 0.0 || max_ == -kInfinity) return 0.0;
  const double ratio = sum_ * std::exp(max_ - log_sum_exp) * kRoundedUp;
  return ratio < 1e15 ? ratio / (1.0 + ratio) : 1.0;  // Infinite and NaN as well.
}

}  // namespace infer::kv
