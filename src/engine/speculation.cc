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
constexpr int kProbePeriod = 32;      // Steps between probes of one source while the other is better.
constexpr int kJudgedFrom = 16;       // Drafted tokens, from which on a rate means something.
constexpr double kWorthwhile = 1.02;  // What a draft must promise: times the speed without.

constexpr double kReadingShare = 0.01;  // Of the time of all steps.
constexpr double kReadingMax = 10;      // Seconds.

// Adds a draft to a step's time, token by token.
class DraftTime {
 public:
  // goes_on: the chance that a draft that has come so far gets another token.
  DraftTime(const DraftCosts& costs, const DraftOffer& offer, const StepRows& step, double goes_on)
      : costs_(costs), offer_(offer), step_(step), before_(step.seconds(costs.step)), goes_on_(goes_on) {}

  void add_token() {
    double pass = 0;
    if (offer_.source == DraftSource::kModel) {
      const int rows = step_.pass_rows[static_cast<size_t>(length_)];
      const int more = length_ == 0 ? offer_.missing : 1;
      pass = costs_.pass->seconds(rows + more) - (rows > 0 ? costs_.pass->seconds(rows) : 0);
    }
    const int rows = step_.rows + length_;
    const double row = costs_.step.seconds(rows + 1) - costs_.step.seconds(rows);
    ++length_;
    drafting_ += pass;
    spared_ += (1 - reached_) * pass;
    reached_ *= goes_on_;
    spared_ += (1 - reached_) * row;
  }
  double drafting() const { return drafting_; }
  double spared() const { return spared_; }
  double likely_after() const { return after() - step_.spared - spared_; }
  double after() const { return costs_.step.seconds(step_.rows + length_) + step_.drafting + drafting_; }
  // In tokens that all answers of the step would have got in its time.
  double price() const { return (after() - before_) / before_ * step_.rows; }

 private:
  const DraftCosts& costs_;
  const DraftOffer& offer_;
  const StepRows& step_;
  const double before_, goes_on_;
  int length_ = 0;
  double reached_ = 1;  // The chance that the draft gets this long.
  double drafting_ = 0, spared_ = 0;
};

void count_in(StepRows& step, const DraftCosts& costs, const DraftOffer& offer, int length, double goes_on) {
  DraftTime time(costs, offer, step, goes_on);
  for (int i = 0; i < length; ++i) time.add_token();
  step.drafting += time.drafting();
  step.spared += time.spared();
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

void Speculation::Share::add(int right, double wrong) {
  hits = kFading * hits + right;
  tries = kFading * tries + right + wrong;
}

double Speculation::Learnt::expected_tokens(int asked) const {
  const double a = right.value() * drafted.value();
  return a * (1 - std::pow(a, asked)) /
         (1 - a);  // a + a^2 + ..; a < 1, as the first share's tries stay above its hits.
}

bool Speculation::is_bad(DraftSource source, const SpeculationLimits& limits) const {
  const AcceptWindow& window = learnt(source).window;
  return window.drafted() >= kJudgedFrom && window.rate() < limits.min_accept_rate;
}

// The length with the most tokens per time, of those that `account` can pay.
void Speculation::find_best(const SpeculationLimits& limits, const DraftCosts& costs, const DraftOffer& offer,
                            const StepRows& step, double account, Best& best) const {
  if (is_bad(offer.source, limits)) return;
  const Learnt& known = learnt(offer.source);
  DraftTime time(costs, offer, step, known.drafted.value());
  for (int length = 1; length <= offer.most; ++length) {
    time.add_token();
    if (time.price() > account) return;
    const double rate = (step.expected + known.expected_tokens(length)) / time.likely_after();
    if (rate > best.rate) best = {{offer.source, length}, rate};
  }
}

// Not for its gain, but to see whether there is one by now. The sources take turns; one that is chosen anyway needs
// none.
DraftChoice Speculation::choose_probe(const DraftCosts& costs, std::span<const DraftOffer> offers,
                                      const DraftChoice& chosen, const StepRows& step) const {
  const DraftOffer* next = nullptr;
  for (const DraftOffer& offer : offers) {
    if (offer.most == 0 || (chosen.length > 0 && offer.source == chosen.source)) continue;
    if (next == nullptr || next->source == probed_) next = &offer;
  }
  if (next == nullptr) return {};
  const int length = std::min(next->most, kProbeTokens);
  DraftTime time(costs, *next, step, 1);
  for (int i = 0; i < length; ++i) time.add_token();
  return time.price() <= account_ ? DraftChoice{next->source, length} : DraftChoice{};
}

DraftChoice Speculation::choose(const SpeculationLimits& limits, const DraftCosts& costs,
                                std::span<const DraftOffer> offers, StepRows& step) {
  if (!limits.enabled || !costs.step.known()) return {};
  const Best without{.choice = {}, .rate = kWorthwhile * step.expected / step.likely_seconds(costs.step)};
  Best best = without, wanted = without;
  for (const DraftOffer& offer : offers) {
    find_best(limits, costs, offer, step, account_, best);
    find_best(limits, costs, offer, step, kAccountMax, wanted);
  }
  DraftChoice choice = best.choice, probe;
  // A source that would pay is saved for; one that would not must not take what the other needs.
  const bool is_due = ++since_probe_ >= kProbePeriod;
  if (wanted.choice.length == 0 || (choice.length > 0 && is_due)) {
    probe = choose_probe(costs, offers, choice, step);
  }
  probing_ = probe.length > 0;
  if (probing_) {
    choice = probe;
    probed_ = probe.source;
    since_probe_ = 0;
  }
  if (choice.length == 0) return {};
  const Learnt& chosen = learnt(choice.source);
  for (const DraftOffer& offer : offers) {
    if (offer.source == choice.source) count_in(step, costs, offer, choice.length, chosen.drafted.value());
  }
  step.expected += chosen.expected_tokens(choice.length);
  return choice;
}

double Speculation::observe(const DraftOutcome& outcome, double price) {
  account_ += kShare;
  double gained = 0;
  if (outcome.choice.length > 0) {
    gained = outcome.accepted - price;
    account_ += gained;
    learn(outcome);
  }
  account_ = std::clamp(account_, kAccountMin, kAccountMax);
  return gained;
}

void Speculation::learn(const DraftOutcome& outcome) {
  Learnt& learnt = learnt_[static_cast<size_t>(outcome.choice.source)];
  learnt.drafted.add(outcome.drafted, outcome.drafted < outcome.choice.length ? 1 : 0);
  if (outcome.drafted == 0) return;
  const bool all_right = outcome.accepted == outcome.drafted;
  learnt.window.add(outcome.drafted, outcome.accepted);
  if (probing_ && all_right) learnt.window.clear();
  learnt.right.add(outcome.accepted, all_right ? 0.05 : 1);
  trust_.observe(outcome.probabilities, outcome.accepted);
}

double least_chance(const DraftCosts& costs, const StepRows& step, int answers) {
  constexpr double kChanceMin = 0.05, kChanceMax = 0.9;
  const double row = (costs.step.seconds(step.rows) - costs.step.seconds(answers)) / std::max(1, step.rows - answers);
  const double rate = step.expected / step.likely_seconds(costs.step);
  return std::clamp((costs.pass->seconds(1) + row) * rate, kChanceMin, kChanceMax);
}

void ReadingBudget::add_step(double seconds) { left_ = std::min(kReadingMax, left_ + kReadingShare * seconds); }

void ReadingBudget::add_gain(double seconds) { left_ = std::min(kReadingMax, left_ + seconds); }

}  // namespace infer::engine
