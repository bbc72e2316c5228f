#include "engine/conversation_drafts.h"

#include <algorithm>
#include <utility>

namespace infer::engine {

namespace {

// Of the text for the draft model, between two tokens.
constexpr Duration kReadingTime = Duration::from_ms(60);

class CallWatch final : public model::StepWatch {
 public:
  explicit CallWatch(const CallContext& call) : call_(call) {}
  Status look() override { return call_.check("drafting"); }

 private:
  const CallContext& call_;
};

}  // namespace

ConversationDrafts::ConversationDrafts(const SpeculationLimits& limits, std::unique_ptr<StepRunner> runner,
                                       int vocabulary, const Clock& clock)
    : limits_(limits) {
  if (runner) model_.emplace(std::move(runner), vocabulary, clock);
}

void ConversationDrafts::begin() {
  lookup_ = {};
  sequence_.release();
  choice_ = {};
  draft_.clear();
}

void ConversationDrafts::observe_step(int tokens, Duration time) {
  cost_.observe(tokens, time);
  row_cost_.set_slope(cost_.line().per_token);
  if (tokens == 1) row_cost_.observe(1, time);
  if (model_) model_->budget().add_step(time.seconds());
}

// Some of what the draft model has not read yet.
Status ConversationDrafts::read(std::span<const TokenId> text, model::StepWatch& watch) {
  if (!model_ || !row_cost_.known()) return {};
  const Result<bool> read = model_->read(sequence_, text, kReadingTime, watch);
  return read ? Status() : Status(read.error());
}

Status ConversationDrafts::guess(std::span<const TokenId> text, const StepRows& step, model::StepWatch& watch) {
  DraftJob job{.sequence = &sequence_,
               .text = text,
               .most = choice_.length,
               .least = least_chance({row_cost_, &model_->pass_cost()}, step, 1),
               .share = limits_.min_accept_rate,
               .trust = &speculation_.trust(),
               .draft = &draft_,
               .probabilities = &probabilities_};
  INFER_TRY(model_->draft({&job, 1}, watch));
  draft_seconds_ = job.seconds;
  return {};
}

Result<std::span<const TokenId>> ConversationDrafts::propose(std::span<const TokenId> text, int most,
                                                             const CallContext& call) {
  CallWatch watch(call);
  draft_.clear();
  probabilities_.clear();
  draft_seconds_ = 0;
  choice_ = {};
  most = std::min({most, limits_.draft_max, RowCost::kRowsMax - 1});
  if (!limits_.enabled || most <= 0 || !row_cost_.known()) return std::span<const TokenId>();
  INFER_TRY(read(text, watch));
  lookup_.propose(text, most, draft_);
  std::array<DraftOffer, kDraftSources> offers{
      DraftOffer{.source = DraftSource::kText, .most = static_cast<int>(draft_.size())}};
  size_t count = 1;
  if (const auto lag = model_ ? model_->lag(sequence_, text) : std::nullopt) {
    offers[count++] = {.source = DraftSource::kModel, .most = most, .missing = *lag};
  }
  StepRows step{1, 1};
  const DraftCosts costs{row_cost_, model_ ? &model_->pass_cost() : nullptr};
  choice_ = speculation_.choose(limits_, costs, {offers.data(), count}, step);
  if (choice_.length > 0 && choice_.source == DraftSource::kModel) {
    INFER_TRY(guess(text, step, watch));
  } else {
    draft_.resize(static_cast<size_t>(choice_.length));
  }
  return std::span<const TokenId>(draft_);
}

void ConversationDrafts::verified(int accepted, Duration time) {
  const auto drafted = static_cast<int>(draft_.size());
  cost_.observe(1 + drafted, time);
  row_cost_.set_slope(cost_.line().per_token);
  row_cost_.observe(1 + drafted, time);
  const double bare = row_cost_.seconds(1);
  const double longer = drafted > 0 ? std::max(0.0, row_cost_.own_seconds(1 + drafted, time) - bare) : 0;
  const DraftOutcome outcome{
      .choice = std::exchange(choice_, {}), .drafted = drafted, .accepted = accepted, .probabilities = probabilities_};
  const bool guessed = outcome.choice.source == DraftSource::kModel;
  const double gained = speculation_.observe(outcome, (longer + draft_seconds_) / bare);
  if (model_) model_->budget().add_step(time.seconds());
  if (model_ && guessed && outcome.choice.length > 0) model_->budget().add_gain(gained * bare);
  drafted_ += static_cast<uint64_t>(drafted);
  accepted_ += static_cast<uint64_t>(accepted);
}

}  // namespace infer::engine
