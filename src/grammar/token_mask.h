// A set of tokens of a vocabulary, one bit each.
// Thread safety: a plain value.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/ids.h"

namespace infer::grammar {

class TokenMask {
 public:
  TokenMask() = default;
  explicit TokenMask(size_t tokens) : tokens_(tokens), words_((tokens + 63) / 64, 0) {}

  size_t size() const { return tokens_; }  // Of the vocabulary.
  bool contains(TokenId token) const {
    const auto t = static_cast<size_t>(token);
    return t < tokens_ && (words_[t / 64] >> (t % 64) & 1) != 0;
  }
  void add(TokenId token) {
    words_[static_cast<size_t>(token) / 64] |= uint64_t{1} << (static_cast<size_t>(token) % 64);
  }
  void remove(TokenId token) {
    words_[static_cast<size_t>(token) / 64] &= ~(uint64_t{1} << (static_cast<size_t>(token) % 64));
  }
  bool empty() const {
    for (const uint64_t word : words_) {
      if (word != 0) return false;
    }
    return true;
  }
  // Token 64 * i + j is bit j of word i; bits behind the last token are 0.
  std::span<const uint64_t> words() const { return words_; }

  bool operator==(const TokenMask&) const = default;

 private:
  size_t tokens_ = 0;
  std::vector<uint64_t> words_;
};

}  // namespace infer::grammar
