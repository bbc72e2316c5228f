// How many drafted tokens a request lets its next step verify: as many as are expected to pay, never at a loss that
// matters.
//
// A draft of d tokens makes a step longer by what its rows cost, and gives one more token for each that is accepted.
// With the chance `a` that one is, learnt from the last drafts, and the measured time of steps of so many rows, the
// length with the most tokens per time is taken. An account keeps the price down: each step pays in 2 % of a token,
// each accepted token one, each draft takes out the tokens that the time it took would have given otherwise; nothing is
// drafted that the account cannot pay. Where no length pays, or less than min_accept_rate of the last 50 drafted tokens
// were accepted, drafts are probes of two tokens, as often as the account allows, until one is right. Thread safety:
// one request, one thread.
#pragma once

#include <cstdint>

#include "engine/step_cost.h"

namespace infer::engine {

struct SpeculationLimits {
  bool enabled = true;
  float min_accept_rate = 0.5f;  // 0..1
  int draft_max = 15;            // Tokens of one draft; 0: none.
};

// Of the last 50 drafted tokens.
class AcceptWindow {
 public:
  static constexpr int kTokens = 50;

  // `drafted` tokens, the first `accepted` of which were right.
  void add(int drafted, int accepted);
  void clear() { *this = {}; }
  int drafted() const { return drafted_; }
  // 0 while nothing was drafted.
  float rate() const;

 private:
  uint64_t accepted_ = 0;  // A bit for each, the latest lowest.
  int drafted_ = 0;        // At most kTokens.
};

// A step as planned so far.
struct StepRows {
  int rows = 0;         // That it computes: answers and drafts before this one.
  double expected = 0;  // Tokens that it is expected to give.
};

class Speculation {
 public:
  // The draft's length for the next step, at most `most`, which counts itself in `step`.
  int choose_length(const SpeculationLimits& limits, const RowCost& cost, int most, StepRows& step);
  // A step of answers was computed in `seconds`: `rows` without this request's draft.
  void observe(const RowCost& cost, int rows, int drafted, int accepted, double seconds);

  float accept_rate() const { return window_.rate(); }

 private:
  int best_length(const RowCost& cost, int most, const StepRows& step) const;
  // Expected tokens beyond the one that comes anyway.
  double expected_tokens(int drafted) const;
  // In tokens that all answers of the step would have got in its time.
  static double price(const RowCost& cost, int rows, int drafted);

  AcceptWindow window_;
  double hits_ = 1.5, tries_ = 2;  // Faded; of tokens that came after right ones only.
  double account_ = 0.5;           // In tokens.
  bool probing_ = false;
};

}  // namespace infer::engine
