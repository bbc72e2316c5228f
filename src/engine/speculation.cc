#include "engine/speculation.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace infer::engine {

namespace {

constexpr double kShare = 0.02;       // Of each token, for drafts.
constexpr double kAccountMax = 2;     // So that a good time does not pay for a long bad one,
constexpr double kAccountMin = -2;    // nor does one long step forbid drafts for long.
constexpr double kFading = 0.9;       // Of what was learnt of `a`, with each draft.
constexpr int kProbeTokens = 2;       // Of a draft while drafts are bad.
constexpr int kProbePeriod = 32;      // Steps between probes of one source while the other is good.
constexpr int kJudgedFrom = 16;       // Drafted tokens, from which on a rate means something.
constexpr double kWorthwhile = 1.02;  // What a draft must promise: times the speed without.

constexpr double kReadingShare = 0.01;  // Of the time of all steps.
constexpr double kReadingMax = 10;      // Seconds.

// Adds a draft to a step's time, token by token.
class DraftTime {
 public:
  DraftTime(const DraftCosts& costs, const DraftOffer& offer, const StepRows& step)
      : costs_(costs), offer_(offer), step_(step), before_(step.seconds(costs.step)) {}

  void add_token() {
    if (offer_.source == DraftSource::kModel) {
      const int rows = step_.pass_rows[static_cast<size_t>(length_)];
      const int more = length_ == 0 ? offer_.missing : 1;
      drafting_ += costs_.pass->seconds(rows + more) - (rows > 0 ? costs_.pass->seconds(rows) : 0);
    }
    ++length_;
  }
  double drafting() const { return drafting_; }
  double after() const { return costs_.step.seconds(step_.rows + length_) + step_.drafting + drafting_; }
  // In tokens that all answers of the step would have got in its time.
  double price() const { return (after() - before_) / before_ * step_.rows; }

 private:
  const DraftCosts& costs_;
  const DraftOffer& offer_;
  const StepRows& step_;
  const double before_;
  int length_ = 0;
  double drafting_ = 0;
};

void count_in(StepRows& step, const DraftCosts& costs, const DraftOffer& offer, int length) {
  DraftTime time(costs, offer, step);
  for (int i = 0; i < length; ++i) time.add_token();
  step.drafting += time.drafting();
  step.rows += length;
  if (offer.source == DraftSource::kText) return;
  for (int i = 0; i < length; ++i) step.pass_rows[static_cast<size_t>(i)] += i == 0 ? offer.missing : 1;
}

}  // namespace

const char* draft_source_name(DraftSource source) { return source == DraftSource::kText ? "text" : "model"; }

void AcceptWindow::add(int drafted, int accepted) {
  for (int i = 0; i < drafted; ++i) accepted_ = accepted_ << 1 | (i < accepted ? 1u : 0u);
  drafted_ = std::min(kTokens, drafted_ + drafted);
}

float AcceptWindow::rate() const {
  if (drafted_ == 0) return 0;
  const uint64_t seen = accepted_ & ((uint64_t{1} << drafted_) - 1);
  return static_cast<float>(std::popcount(seen)) / static_cast<float>(drafted_);
}

double Speculation::Learnt::expected_tokens(int drafted) const {
  const double a = hits / tries;
  return a * (1 - std::pow(a, drafted)) / (1 - a);  // a + a^2 + ..; a < 1, as tries stay above hits.
}

bool Speculation::is_bad(DraftSource source, const SpeculationLimits& limits) const {
  const AcceptWindow& window = learnt(source).window;
  return window.drafted() >= kJudgedFrom && window.rate() < limits.min_accept_rate;
}

// The length with the most tokens per time, of those that `account` can pay.
void Speculation::find_best(const SpeculationLimits& limits, const DraftCosts& costs, const DraftOffer& offer,
                            const StepRows& step, double account, Best& best) const {
  if (is_bad(offer.source, limits)) return;
  DraftTime time(costs, offer, step);
  for (int length = 1; length <= offer.most; ++length) {
    time.add_token();
    if (time.price() > account) return;
    const double gained = learnt(offer.source).expected_tokens(length);
    // What is copied is right to its end or wrong from its start on; what is guessed gets ever less likely.
    const bool guessed = offer.source == DraftSource::kModel;
    if (guessed && length > 1 && gained < limits.min_accept_rate * static_cast<float>(length)) return;
    const double rate = (step.expected + gained) / time.after();
    if (rate > best.rate) best = {{offer.source, length}, rate};
  }
}

// Not for its gain, but to see whether there is one by now. The sources take turns.
DraftChoice Speculation::choose_probe(const SpeculationLimits& limits, const DraftCosts& costs,
                                      std::span<const DraftOffer> offers, bool only_bad, const StepRows& step) const {
  const DraftOffer* next = nullptr;
  for (const DraftOffer& offer : offers) {
    if (offer.most == 0 || (only_bad && !is_bad(offer.source, limits))) continue;
    if (next == nullptr || next->source == probed_) next = &offer;
  }
  if (next == nullptr) return {};
  const int length = std::min(next->most, kProbeTokens);
  DraftTime time(costs, *next, step);
  for (int i = 0; i < length; ++i) time.add_token();
  return time.price() <= account_ ? DraftChoice{next->source, length} : DraftChoice{};
}

DraftChoice Speculation::choose(const SpeculationLimits& limits, const DraftCosts& costs,
                                std::span<const DraftOffer> offers, StepRows& step) {
  if (!limits.enabled || !costs.step.known()) return {};
  const Best without{.choice = {}, .rate = kWorthwhile * step.expected / step.seconds(costs.step)};
  Best best = without, wanted = without;
  for (const DraftOffer& offer : offers) {
    find_best(limits, costs, offer, step, account_, best);
    find_best(limits, costs, offer, step, kAccountMax, wanted);
  }
  DraftChoice choice = best.choice, probe;
  // A source that would pay is saved for; one that would not must not take what the other needs.
  const bool is_due = ++since_probe_ >= kProbePeriod;
  if (wanted.choice.length == 0 || (choice.length > 0 && is_due)) {
    probe = choose_probe(limits, costs, offers, choice.length > 0, step);
  }
  probing_ = probe.length > 0;
  if (probing_) {
    choice = probe;
    probed_ = probe.source;
    since_probe_ = 0;
  }
  if (choice.length == 0) return {};
  for (const DraftOffer& offer : offers) {
    if (offer.source == choice.source) count_in(step, costs, offer, choice.length);
  }
  step.expected += learnt(choice.source).expected_tokens(choice.length);
  return choice;
}

double Speculation::observe(const DraftOutcome& outcome, double price) {
  account_ += kShare;
  double gained = 0;
  if (outcome.choice.length > 0) {
    gained = outcome.accepted - price;
    account_ += gained;
  }
  if (outcome.drafted > 0) {
    Learnt& learnt = learnt_[static_cast<size_t>(outcome.choice.source)];
    learnt.window.add(outcome.drafted, outcome.accepted);
    const bool all_right = outcome.accepted == outcome.drafted;
    if (probing_ && all_right) learnt.window.clear();
    learnt.hits = kFading * learnt.hits + outcome.accepted;
    learnt.tries = kFading * learnt.tries + outcome.accepted + (all_right ? 0.05 : 1.0);
  }
  account_ = std::clamp(account_, kAccountMin, kAccountMax);
  return gained;
}

void ReadingBudget::add_step(double seconds) { left_ = std::min(kReadingMax, left_ + kReadingShare * seconds); }

void ReadingBudget::add_gain(double seconds) { left_ = std::min(kReadingMax, left_ + seconds); }

}  // namespace infer::engine
