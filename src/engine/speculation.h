// How many drafted tokens a request lets its next step verify, and who drafts them: as many as are expected to pay,
// never at a loss that matters.
//
// A draft of d tokens makes a step longer by what its rows cost, and gives one more token for each that is accepted;
// one by a draft model (draft_model.h) takes the time of its passes besides. With the chance `a` that a token is
// accepted and the chance that a draft model goes on, learnt for each source from its last drafts, and the measured
// time of steps of so many rows, the source and the length with the most tokens per time are taken. An account keeps
// the price down: each step pays in 2 % of a token, each accepted token one, each draft takes out the tokens that the
// time it took would have given otherwise; nothing is drafted that the account cannot pay. Where no length pays, or
// less than min_accept_rate of a source's last 50 drafted tokens were accepted, its drafts are probes of two tokens, as
// often as the account allows, until one is right. Thread safety: one request, one thread.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "engine/guess_trust.h"
#include "engine/step_cost.h"

namespace infer::engine {

struct SpeculationLimits {
  bool enabled = true;
  float min_accept_rate = 0.5f;  // 0..1
  int draft_max = 15;            // Tokens of one draft; 0: none.
};

// Who guesses: the text itself (draft_lookup.h), or a small model.
enum class DraftSource : uint8_t { kText, kModel };
inline constexpr int kDraftSources = 2;
const char* draft_source_name(DraftSource source);  // "text", "model".

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

// How long steps take, and passes of the draft model, where there is one.
struct DraftCosts {
  const RowCost& step;
  const RowCost* pass = nullptr;
};

// A step as planned so far.
struct StepRows {
  int rows = 0;                                    // That it computes: answers and drafts before this one.
  double expected = 0;                             // Tokens that it is expected to give.
  double drafting = 0;                             // Seconds that the draft model takes before it,
  std::array<int, RowCost::kRowsMax> pass_rows{};  // and the tokens that each of its passes computes.
  double spared = 0;  // Of both times, what is expected to be spared as drafts end before their length.

  double seconds(const RowCost& step) const { return step.seconds(rows) + drafting; }
  double likely_seconds(const RowCost& step) const { return seconds(step) - spared; }
};

// What a source can do for the next step.
struct DraftOffer {
  DraftSource source = DraftSource::kText;
  int most = 0;     // Tokens.
  int missing = 0;  // Of the text, that the draft model computes in its first pass.
};

struct DraftChoice {
  DraftSource source = DraftSource::kText;
  int length = 0;
};

// What became of one draft.
struct DraftOutcome {
  DraftChoice choice{};  // What was asked for; no length: nothing.
  int drafted = 0;       // A draft model may have stopped before.
  int accepted = 0;
  std::span<const float> probabilities{};  // Of a draft model's guesses, by itself.
};

class Speculation {
 public:
  // The source and the length of the next step's draft, which counts itself in `step`.
  DraftChoice choose(const SpeculationLimits& limits, const DraftCosts& costs, std::span<const DraftOffer> offers,
                     StepRows& step);
  // A step was computed. price: in tokens that its answers would have got in the time that this draft took, the draft
  // model's included. Returns how many tokens it gained, or lost.
  double observe(const DraftOutcome& outcome, double price);
  // Of a draft model's guesses.
  const GuessTrust& trust() const { return trust_; }

 private:
  // Of the last outcomes; early ones fade.
  struct Share {
    double hits, tries;
    double value() const { return hits / tries; }
    void add(int right, double wrong);
  };
  // Of a source.
  struct Learnt {
    AcceptWindow window;
    Share right{1.5, 2};  // Of tokens that came after right ones only.
    Share drafted{2, 2};  // Of tokens that were asked for, up to where a draft model stopped.

    // Expected tokens beyond the one that comes anyway.
    double expected_tokens(int asked) const;
  };
  struct Best {
    DraftChoice choice{};
    double rate = 0;  // Tokens per second of the step with it.
  };

  const Learnt& learnt(DraftSource source) const { return learnt_[static_cast<size_t>(source)]; }
  bool is_bad(DraftSource source, const SpeculationLimits& limits) const;
  void find_best(const SpeculationLimits& limits, const DraftCosts& costs, const DraftOffer& offer,
                 const StepRows& step, double account, Best& best) const;
  void learn(const DraftOutcome& outcome);
  DraftChoice choose_probe(const DraftCosts& costs, std::span<const DraftOffer> offers, const DraftChoice& chosen,
                           const StepRows& step) const;

  std::array<Learnt, kDraftSources> learnt_{};
  GuessTrust trust_;
  double account_ = 0.5;  // In tokens.
  bool probing_ = false;
  DraftSource probed_ = DraftSource::kModel;  // Last,
  int since_probe_ = 0;                       // so many choices ago.
};

// What chance a guess of a draft model must have in a step as planned, `answers` of whose rows are due tokens: it costs
// a pass and a row, and has to be as likely as that time brings tokens otherwise.
double least_chance(const DraftCosts& costs, const StepRows& step, int answers);

// What draft models may take to read texts that they have not seen: a share of the time of all steps, what their drafts
// have gained, and no more. In seconds.
class ReadingBudget {
 public:
  double left() const { return left_; }
  void add_step(double seconds);
  // Of a draft: gained, or lost.
  void add_gain(double seconds);
  void spend(double seconds) { left_ -= seconds; }

 private:
  double left_ = 0.25;
};

}  // namespace infer::engine
