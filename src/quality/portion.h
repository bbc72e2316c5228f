// How many tokens the next step of work in idle time takes: a page's, unless such steps are given up again and again
// because requests leave no time for them. Then half as many, until some end, and more again after a while.
// Not thread-safe.
#pragma once

#include <algorithm>

#include "base/result.h"
#include "kv/sequence_cache.h"

namespace infer::quality {

// Somebody wanted the step to end: nothing is wrong with it.
inline bool is_stop(const Error& error) {
  return error.code == ErrorCode::kDeadline || error.code == ErrorCode::kCancelled;
}

class Portion {
 public:
  static constexpr int kTokensMin = 2;
  static constexpr int kGivenUpMax = 3;  // In a row, at one size.
  static constexpr int kEndedMin = 8;    // In a row, before a larger size is tried.

  int tokens() const { return tokens_; }

  // What became of a step of that many tokens at most.
  void ended(const Status& status) {
    if (status) {
      given_up_ = 0;
      if (tokens_ < kv::kPageTokens && ++ended_ == kEndedMin) resize(tokens_ * 2);
    } else if (is_stop(status.error())) {
      ended_ = 0;
      if (++given_up_ == kGivenUpMax) resize(std::max(kTokensMin, tokens_ / 2));
    }
  }

 private:
  void resize(int tokens) {
    tokens_ = tokens;
    given_up_ = ended_ = 0;
  }

  int tokens_ = kv::kPageTokens;
  int given_up_ = 0, ended_ = 0;
};

}  // namespace infer::quality
