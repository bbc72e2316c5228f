#include "sampling/sampler.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <optional>
#include <vector>

#include "base/check.h"
#include "base/format.h"
#include "base/rng.h"

namespace infer::sampling {

namespace {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();
constexpr size_t kSortedMax = 512;  // Top-k up to which the k are sorted by id.
constexpr float kBiasMax = 1000;    // Far beyond what any model makes of its logits.
constexpr size_t kBlock = 64;       // Logits that are compared at once before one of them is looked at.

bool finite(float x) { return std::fabs(x) <= std::numeric_limits<float>::max(); }

// 1/n! for n = 0..13.
constexpr std::array<double, 14> kTaylor = [] {
  std::array<double, 14> out{1.0};
  double factorial = 1.0;  // Exact up to 13!.
  for (size_t n = 1; n < out.size(); ++n) {
    factorial *= static_cast<double>(n);
    out[n] = 1.0 / factorial;
  }
  return out;
}();

// e^x for x <= 0, in plain double arithmetic, so that all platforms get the same bits (their std::exp differ in the
// last one): 2^k * e^r with |r| <= ln(2)/2, and Taylor's series, whose next term is below 1e-17.
inline double exp_of_nonpositive(double x) {
  constexpr double kLowest = -700.0;  // e^-700 is as good as 0 here, and the smallest normal double is e^-708.
  constexpr double kLog2E = 1.4426950408889634;
  constexpr double kLn2High = 0x1.62e42fee00000p-1;  // 33 bits: k * kLn2High is exact.
  constexpr double kLn2Low = 0x1.a39ef35793c76p-33;
  constexpr double kRound = 0x1.8p52;  // Adding it rounds to an integer, which is then in the low bits.
  const double y = std::max(x, kLowest);
  const double shifted = y * kLog2E + kRound;
  const double k = shifted - kRound;
  const double r = (y - k * kLn2High) - k * kLn2Low;
  // Even and odd powers apart: two chains of additions that run side by side.
  const double r2 = r * r;
  const double* t = kTaylor.data();
  const double even = (((((t[12] * r2 + t[10]) * r2 + t[8]) * r2 + t[6]) * r2 + t[4]) * r2 + t[2]) * r2 + t[0];
  const double odd = (((((t[13] * r2 + t[11]) * r2 + t[9]) * r2 + t[7]) * r2 + t[5]) * r2 + t[3]) * r2 + t[1];
  const double power = std::bit_cast<double>((std::bit_cast<uint64_t>(shifted) + 1023) << 52);
  return (even + odd * r) * power;
}

struct Candidate {
  float logit = 0;
  TokenId id = 0;
  double weight = 0;  // e^(logit - greatest logit), later of the logits over the temperature.
};

// The one order of tokens: greater logits first, lower ids first among equals.
bool better(const Candidate& a, const Candidate& b) { return a.logit > b.logit || (a.logit == b.logit && a.id < b.id); }

struct Range {
  double low = 0;
  double high = 0;
};

Range range_of(std::span<const Candidate> candidates) {
  float low = candidates.front().logit;
  float high = low;
  for (const Candidate& c : candidates) {
    low = c.logit < low ? c.logit : low;
    high = c.logit > high ? c.logit : high;
  }
  return Range{low, high};
}

// The last accepted tokens and how often each token is among them.
class History {
 public:
  History(size_t window, size_t vocabulary) : ring_(window), count_(vocabulary, 0), place_(vocabulary, 0) {
    distinct_.reserve(window);
  }

  void add(TokenId token) {
    if (size_ == ring_.size()) {
      remove(ring_[next_]);
    } else {
      ++size_;
    }
    ring_[next_] = token;
    next_ = (next_ + 1) % ring_.size();
    const auto t = static_cast<size_t>(token);
    if (count_[t]++ == 0) {
      place_[t] = static_cast<uint32_t>(distinct_.size());
      distinct_.push_back(token);
    }
  }

  std::span<const TokenId> distinct() const { return distinct_; }
  int count(TokenId token) const { return count_[static_cast<size_t>(token)]; }

 private:
  void remove(TokenId token) {
    const auto t = static_cast<size_t>(token);
    if (--count_[t] > 0) return;
    distinct_[place_[t]] = distinct_.back();
    place_[static_cast<size_t>(distinct_.back())] = place_[t];
    distinct_.pop_back();
  }

  std::vector<TokenId> ring_;
  size_t size_ = 0;
  size_t next_ = 0;
  std::vector<int> count_;         // [vocabulary]
  std::vector<TokenId> distinct_;  // Those with a count, in no order.
  std::vector<uint32_t> place_;    // [vocabulary] Index in distinct_.
};

// Of kBlock of them; NaN is none. In lanes, because compilers make vectors of these and of a search for any that is
// greater only single comparisons: 60 and not 140 us for 128k logits that another processor has just written.
float greatest_of_block(const float* x) {
  constexpr size_t kLanes = 8;
  float lanes[kLanes];
  std::fill_n(lanes, kLanes, kMinusInfinity);
  for (size_t i = 0; i < kBlock; i += kLanes) {
    for (size_t j = 0; j < kLanes; ++j) lanes[j] = x[i + j] > lanes[j] ? x[i + j] : lanes[j];
  }
  return *std::max_element(lanes, lanes + kLanes);
}

// The greatest finite logit, lowest id on ties; token 0 when none is finite. A new greatest one is rare: all blocks but
// a few cost some vector comparisons.
TokenId greatest(std::span<const float> logits) {
  const float* x = logits.data();
  const size_t size = logits.size();
  float top = kMinusInfinity;
  size_t place = 0;
  for (size_t i = 0; i < size; i += kBlock) {
    const size_t count = std::min(kBlock, size - i);
    if (count == kBlock && !(greatest_of_block(x + i) > top)) continue;
    for (size_t j = i; j < i + count; ++j) {
      if (!(x[j] > top) || !finite(x[j])) continue;
      top = x[j];
      place = j;
    }
  }
  return static_cast<TokenId>(place);
}

// Calls take(id, logit) for the finite logits that are at least `limit()`, by ascending id. The limit may rise on the
// way. Whole blocks below it, which are nearly all, cost some vector comparisons.
template <class Limit, class Take>
void for_each_at_least(std::span<const float> logits, Limit&& limit, Take&& take) {
  const float* x = logits.data();
  const size_t size = logits.size();
  for (size_t i = 0; i < size; i += kBlock) {
    const size_t count = std::min(kBlock, size - i);
    if (count == kBlock && !(greatest_of_block(x + i) >= limit())) continue;
    for (size_t j = i; j < i + count; ++j) {
      if (x[j] >= limit() && finite(x[j])) take(static_cast<TokenId>(j), x[j]);
    }
  }
}

class ChainSampler final : public Sampler {
 public:
  ChainSampler(const SamplingParams& params, size_t vocabulary, size_t window)
      : params_(params),
        rng_(params.seed),
        vocabulary_(vocabulary),
        top_k_(params.top_k == 0 ? vocabulary : std::min(vocabulary, static_cast<size_t>(params.top_k))),
        adjusted_(window > 0 || !params.biases.empty() ? vocabulary : 0),
        penalises_(window > 0),
        history_(window, window > 0 ? vocabulary : 0) {
    if (params.temperature <= 0) return;
    // Finding the greatest k needs room for k and as many newcomers.
    candidates_.reserve(std::min(vocabulary, 2 * top_k_ + kBlock));
    if (params.top_p < 1) pool_.reserve(top_k_);
  }

  void accept(TokenId token) override {
    INFER_CHECK(token >= 0 && static_cast<size_t>(token) < vocabulary_);
    if (penalises_) history_.add(token);
  }

  TokenId sample(std::span<const float> logits) override {
    INFER_CHECK(logits.size() == vocabulary_);
    logits = adjust(logits);
    if (params_.temperature <= 0) return greatest(logits);
    collect(logits);
    if (candidates_.empty()) return 0;  // No logit is finite.
    if (params_.top_p < 1 || params_.min_p > 0) {
      weigh(1.0);
      keep_top_p();
      keep_min_p();
    }
    weigh(params_.temperature);
    return draw();
  }

  TokenId sample_among(const grammar::TokenMask& allowed, std::span<const float> logits) override;
  bool is_greedy() const override { return params_.temperature <= 0; }

 private:
  std::span<const float> adjust(std::span<const float> logits);
  void penalise(TokenId token);
  void collect(std::span<const float> logits);
  Candidate last_of_top_k(std::span<const float> logits);
  void weigh(double temperature);
  void keep_top_p();
  Candidate last_of_top_p(double target);
  void keep_side_of(double middle, bool above);
  void keep_min_p();
  TokenId draw();

  const SamplingParams params_;
  Rng rng_;
  const size_t vocabulary_;
  const size_t top_k_;
  std::vector<float> adjusted_;  // [vocabulary], empty when there are neither biases nor penalties.
  const bool penalises_;
  std::vector<float> masked_;  // [vocabulary], empty before the first mask.
  History history_;
  std::vector<Candidate> candidates_;  // By ascending id, so that sums have one order.
  std::vector<Candidate> pool_;        // Those among which the last of top-p is being looked for.
};

TokenId ChainSampler::sample_among(const grammar::TokenMask& allowed, std::span<const float> logits) {
  INFER_CHECK(allowed.size() == logits.size());
  masked_.resize(logits.size());
  std::optional<TokenId> first;
  for (size_t i = 0; i < logits.size(); i += 64) {
    const uint64_t word = allowed.words()[i / 64];
    const size_t count = std::min<size_t>(64, logits.size() - i);
    if (word == 0) {
      std::fill_n(masked_.begin() + static_cast<ptrdiff_t>(i), count, kMinusInfinity);
      continue;
    }
    if (!first) first = static_cast<TokenId>(i + static_cast<size_t>(std::countr_zero(word)));
    for (size_t j = 0; j < count; ++j) masked_[i + j] = (word >> j & 1) != 0 ? logits[i + j] : kMinusInfinity;
  }
  INFER_CHECK(first.has_value());
  const TokenId token = sample(masked_);
  return allowed.contains(token) ? token : *first;  // No allowed logit is finite.
}

// A finite logit stays one.
float finite_logit(float logit) {
  constexpr float kGreatest = std::numeric_limits<float>::max();
  return std::clamp(logit, -kGreatest, kGreatest);
}

std::span<const float> ChainSampler::adjust(std::span<const float> logits) {
  if (params_.biases.empty() && (!penalises_ || history_.distinct().empty())) return logits;
  std::copy(logits.begin(), logits.end(), adjusted_.begin());
  for (const LogitBias& each : params_.biases) {
    float& logit = adjusted_[static_cast<size_t>(each.token)];
    if (finite(logit)) logit = finite_logit(logit + each.bias);
  }
  if (penalises_) {
    for (const TokenId token : history_.distinct()) penalise(token);
  }
  return adjusted_;
}

void ChainSampler::penalise(TokenId token) {
  float& logit = adjusted_[static_cast<size_t>(token)];
  if (!finite(logit)) return;
  logit = logit > 0 ? logit / params_.repeat_penalty : logit * params_.repeat_penalty;
  logit -= static_cast<float>(history_.count(token)) * params_.frequency_penalty + params_.presence_penalty;
  logit = finite_logit(logit);
}

// candidates_ = the top k, by ascending id.
void ChainSampler::collect(std::span<const float> logits) {
  Candidate last{kMinusInfinity, std::numeric_limits<TokenId>::max()};
  if (top_k_ < vocabulary_) {
    last = last_of_top_k(logits);
    // The search leaves them in candidates_; sorting a few is quicker than going through all logits again.
    if (top_k_ <= kSortedMax) {
      std::sort(candidates_.begin(), candidates_.end(),
                [](const Candidate& a, const Candidate& b) { return a.id < b.id; });
      return;
    }
  }
  candidates_.clear();
  for_each_at_least(
      logits, [&] { return last.logit; },
      [&](TokenId id, float logit) {
        const Candidate candidate{logit, id};
        if (!better(last, candidate)) candidates_.push_back(candidate);
      });
}

// Gathers what beats the k-th best so far, and cuts back to k whenever the room is full: linear, whatever k is. Leaves
// the top k in candidates_, in no order.
Candidate ChainSampler::last_of_top_k(std::span<const float> logits) {
  const auto k = static_cast<ptrdiff_t>(top_k_);
  candidates_.clear();
  float limit = kMinusInfinity;
  auto cut = [&] {
    std::nth_element(candidates_.begin(), candidates_.begin() + (k - 1), candidates_.end(), better);
    candidates_.resize(top_k_);
    limit = candidates_.back().logit;
  };
  for_each_at_least(
      logits, [&] { return limit; },
      [&](TokenId id, float logit) {
        if (candidates_.size() == candidates_.capacity()) cut();
        candidates_.push_back(Candidate{logit, id});
      });
  // Fewer than k are finite: all of them are taken.
  if (candidates_.size() < top_k_) return Candidate{kMinusInfinity, std::numeric_limits<TokenId>::max()};
  cut();
  return candidates_.back();
}

void ChainSampler::weigh(double temperature) {
  const double top = range_of(candidates_).high;
  for (Candidate& c : candidates_) c.weight = exp_of_nonpositive((static_cast<double>(c.logit) - top) / temperature);
}

// The best candidates whose probabilities together reach top_p, with the one that gets there.
void ChainSampler::keep_top_p() {
  if (params_.top_p >= 1) return;
  double total = 0;
  for (const Candidate& c : candidates_) total += c.weight;
  const double target = static_cast<double>(params_.top_p) * total;
  // All those below this share together weigh less than what may be left out, so the last one is not among them.
  const double least = (total - target) / static_cast<double>(candidates_.size());
  pool_.clear();
  for (const Candidate& c : candidates_) {
    if (c.weight >= least) pool_.push_back(c);
  }
  const Candidate last = last_of_top_p(target);
  std::erase_if(candidates_, [&](const Candidate& c) { return better(last, c); });
}

// Halves the range of logits in pool_ until one value is left, without sorting: what lies above the middle either
// reaches the target, and the rest is dropped, or is counted and dropped. The order by id is kept throughout.
Candidate ChainSampler::last_of_top_p(double target) {
  double taken = 0;
  Range range = range_of(pool_);
  while (range.low < range.high) {
    const double middle = range.low + (range.high - range.low) / 2;  // Exact enough in double: low <= middle < high.
    double above = 0;
    for (const Candidate& c : pool_) above += c.logit > middle ? c.weight : 0.0;
    const bool reached = taken + above >= target;
    if (!reached) taken += above;
    keep_side_of(middle, reached);
    range = range_of(pool_);
  }
  for (const Candidate& c : pool_) {
    taken += c.weight;
    if (taken >= target) return c;
  }
  return pool_.back();  // Rounding kept the sum below the target.
}

// Without a branch on the data, which nobody could predict.
void ChainSampler::keep_side_of(double middle, bool above) {
  size_t kept = 0;
  for (const Candidate c : pool_) {
    pool_[kept] = c;
    kept += (c.logit > middle) == above ? 1 : 0;
  }
  pool_.resize(kept);
}

void ChainSampler::keep_min_p() {
  if (params_.min_p <= 0) return;
  // The best has the weight 1, so weights are shares of it.
  std::erase_if(candidates_, [&](const Candidate& c) { return c.weight < static_cast<double>(params_.min_p); });
}

TokenId ChainSampler::draw() {
  double total = 0;
  for (const Candidate& c : candidates_) total += c.weight;
  const double point = rng_.uniform() * total;
  double sum = 0;
  TokenId last = candidates_.front().id;  // Of those that weigh enough to show in the sum.
  for (const Candidate& c : candidates_) {
    const double next = sum + c.weight;
    if (next > point) return c.id;
    if (next > sum) last = c.id;
    sum = next;
  }
  return last;  // uniform() < 1, yet its product may round up to the total.
}

Status check_range(std::string_view name, float value, float low, float high) {
  if (value >= low && value <= high) return {};  // False for NaN.
  return Error{ErrorCode::kInvalidArgument,
               format("{} must be between {:g} and {:g}, but is {:g}", name, low, high, value)};
}

}  // namespace

Status SamplingParams::validate() const {
  constexpr float kLowest = std::numeric_limits<float>::lowest();
  if (!(temperature >= kLowest && temperature <= 100)) {
    return Error{ErrorCode::kInvalidArgument,
                 format("temperature must be at most 100 (0 or less: greedy), but is {:g}", temperature)};
  }
  if (top_k < 0) {
    return Error{ErrorCode::kInvalidArgument, format("top_k must be 0 (all tokens) or more, but is {}", top_k)};
  }
  INFER_TRY(check_range("top_p", top_p, 0, 1));
  INFER_TRY(check_range("min_p", min_p, 0, 1));
  INFER_TRY(check_range("repeat_penalty", repeat_penalty, 0.01f, 10));
  INFER_TRY(check_range("presence_penalty", presence_penalty, -10, 10));
  INFER_TRY(check_range("frequency_penalty", frequency_penalty, -10, 10));
  if (penalty_window < -1) {
    return Error{ErrorCode::kInvalidArgument,
                 format("penalty_window must be -1 (the whole context), 0 (off) or more, but is {}", penalty_window)};
  }
  for (const LogitBias& each : biases) INFER_TRY(check_range("a bias", each.bias, -kBiasMax, kBiasMax));
  return {};
}

Status SamplingParams::validate_for(int vocabulary_size) const {
  INFER_TRY(validate());
  if (vocabulary_size < 1) {
    return Error{ErrorCode::kInvalidArgument, format("the vocabulary must have a token, but has {}", vocabulary_size)};
  }
  for (const LogitBias& each : biases) {
    if (each.token >= 0 && each.token < vocabulary_size) continue;
    return Error{ErrorCode::kInvalidArgument, format("a bias is for token {}, but the vocabulary has tokens 0 to {}",
                                                     each.token, vocabulary_size - 1)};
  }
  return {};
}

Result<std::unique_ptr<Sampler>> Sampler::make(const SamplingParams& params, int vocabulary_size, int context_tokens) {
  INFER_TRY(params.validate_for(vocabulary_size));
  if (context_tokens < 1) {
    return Error{ErrorCode::kInvalidArgument, format("the context must have a token, but has {}", context_tokens)};
  }
  const bool penalises =
      params.repeat_penalty != 1.0f || params.presence_penalty != 0.0f || params.frequency_penalty != 0.0f;
  // No text is longer than the context, so no window needs to be.
  int window = params.penalty_window < 0 ? context_tokens : std::min(params.penalty_window, context_tokens);
  if (!penalises) window = 0;
  return std::unique_ptr<Sampler>(
      std::make_unique<ChainSampler>(params, static_cast<size_t>(vocabulary_size), static_cast<size_t>(window)));
}

}  // namespace infer::sampling
