// The online estimate of what lowering the KV cache costs: the likelihood of the last hundred generated tokens, and the
// divergence that the cache expects of its lowered pages.
//
// The perplexity of those of them that were measured times (1 - exp(-divergence)); a new one each kStep tokens. Where
// more tokens have come between two looks it counts for as many, so that a judge that needs some of them has them after
// as many tokens, however fast these come. Thread safety: one thread; a plain value.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace infer::control {

class QualityEstimate {
 public:
  static constexpr uint64_t kWindow = 100;  // Tokens.
  static constexpr uint64_t kStep = 4;
  static constexpr uint64_t kMeasuredMin = 16;  // Of a window.

  struct Reading {
    double delta_ppl = 0;
    int weight = 1;  // Estimates that it stands for.
  };
  static constexpr int kWeightMax = 10;

  // Levels have changed: what the next kPassedOver tokens attend to is still from the time before.
  static constexpr uint64_t kPassedOver = 40;
  void pass_over() {
    if (size_ > 0) quiet_until_ = points_[(next_ + points_.size() - 1) % points_.size()].tokens + kPassedOver;
  }

  // Since the engine's start: the nats of the tokens that were measured, how many these are, and how many there are
  // with those that they stand for. The estimate, where there are enough new tokens and all is known.
  std::optional<Reading> observe(double nll, uint64_t measured, uint64_t tokens,
                                 const std::optional<double>& divergence) {
    const Point& last = points_[(next_ + points_.size() - 1) % points_.size()];
    if (size_ > 0 && tokens < last.tokens + kStep) return std::nullopt;
    const uint64_t steps = size_ > 0 ? (tokens - last.tokens) / kStep : 1;
    points_[next_] = {nll, measured, tokens};
    next_ = (next_ + 1) % points_.size();
    size_ = size_ < points_.size() ? size_ + 1 : size_;
    if (tokens < quiet_until_) return std::nullopt;
    // The latest point that lies a window back.
    for (size_t back = 2; back <= size_; ++back) {
      const Point& begin = points_[(next_ + points_.size() - back) % points_.size()];
      if (tokens - begin.tokens < kWindow || measured - begin.measured < kMeasuredMin) continue;
      if (!divergence) return std::nullopt;
      const double mean = (nll - begin.nll) / static_cast<double>(measured - begin.measured);
      return Reading{std::exp(mean) * -std::expm1(-*divergence),
                     static_cast<int>(std::min<uint64_t>(steps, kWeightMax))};
    }
    return std::nullopt;
  }

 private:
  struct Point {
    double nll = 0;
    uint64_t measured = 0, tokens = 0;
  };
  std::array<Point, kWindow / kStep + 2> points_{};  // A ring.
  size_t size_ = 0, next_ = 0;
  uint64_t quiet_until_ = 0;
};

}  // namespace infer::control
