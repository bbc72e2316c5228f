// Cuts text into words with the regular expressions of a PretokenizerRule.
//
// Invariants: the words, put together, are the text; any bytes are accepted. Bytes that are not well-formed UTF-8
// belong to no pattern: each longest run of them is a word of its own, and what stands to its left and right is cut as
// if it were a whole text. Where an expression reaches its limit of matching steps, the rest of that piece is one word.
// Ownership: owns the compiled expressions. Thread safety: const and shared; a Session belongs to one thread.
#pragma once

#include <memory>
#include <span>
#include <string_view>

#include "base/result.h"

namespace infer::tokenizer {

class WordSink {
 public:
  virtual ~WordSink() = default;
  virtual void on_word(std::string_view word) = 0;  // Never empty; points into the text.
};

class Pretokenizer {
 public:
  // What one run of matches writes to; reusable for any number of texts.
  class Session {
   public:
    explicit Session(const Pretokenizer& pretokenizer);
    ~Session();
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

   private:
    friend class Pretokenizer;
    struct State;
    std::unique_ptr<State> state_;
  };

  // kInvalidArgument names the expression that does not compile and where.
  static Result<std::unique_ptr<Pretokenizer>> compile(std::span<const std::string_view> patterns);
  ~Pretokenizer();
  Pretokenizer(const Pretokenizer&) = delete;
  Pretokenizer& operator=(const Pretokenizer&) = delete;

  void split(std::string_view text, Session& session, WordSink& sink) const;

 private:
  struct Impl;
  explicit Pretokenizer(std::unique_ptr<Impl> impl);
  void split_valid(size_t stage, std::string_view text, Session& session, WordSink& sink) const;

  std::unique_ptr<Impl> impl_;
};

}  // namespace infer::tokenizer
