#include "engine/step_plan.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace infer::engine {
namespace {

constexpr Instant kNow = Instant::from_ns(10'000'000'000);

SequenceView running(int cached, int due) {
  return {.running = true,
          .submitted = kNow,
          .cached_tokens = cached,
          .due_tokens = due,
          .pages_held = (cached + 63) / 64,
          .pages_wanted = (cached + due + 63) / 64};
}
SequenceView waiting(int tokens) {
  return {.submitted = kNow, .due_tokens = tokens, .pages_wanted = (tokens + 63) / 64};
}
// One layer, many pages, 1 ms a token and no fixed part.
EngineState with(std::vector<SequenceView> sequences) {
  return {.sequences = std::move(sequences), .pages_available = 1000, .cost = {0, 0.001}};
}
constexpr EngineLimits kLimits{.running_max = 4, .tokens_per_step = 512, .step_target = Duration::from_ms(100)};

int tokens_of(const StepPlan& plan, size_t sequence) {
  int tokens = 0;
  for (const PlannedSlice& slice : plan.slices) tokens += slice.sequence == sequence ? slice.tokens : 0;
  return tokens;
}

TEST(StepPlan, EachAnswerGetsATokenAndThePromptTheRestOfTheTime) {
  const StepPlan plan = plan_step(with({running(100, 1), running(200, 1), waiting(1000)}), kLimits, kNow);
  EXPECT_EQ(tokens_of(plan, 0), 1);
  EXPECT_EQ(tokens_of(plan, 1), 1);
  EXPECT_EQ(plan.admits, std::vector<size_t>{2});
  EXPECT_EQ(tokens_of(plan, 2), 98);
}

TEST(StepPlan, TheShortestPromptSharesTheStepWithTheFirst) {
  const StepPlan plan = plan_step(with({running(0, 5000), running(0, 900), running(0, 20)}), kLimits, kNow);
  EXPECT_EQ(tokens_of(plan, 0), 50);
  EXPECT_EQ(tokens_of(plan, 2), 20);
  EXPECT_EQ(tokens_of(plan, 1), 30);
}

TEST(StepPlan, WhatOthersDoNotNeedGoesToTheFirst) {
  const StepPlan plan = plan_step(with({running(0, 5000), running(0, 10)}), kLimits, kNow);
  EXPECT_EQ(tokens_of(plan, 0), 90);
  EXPECT_EQ(tokens_of(plan, 1), 10);
}

TEST(StepPlan, AnswersNeverTakeAllOfAStepFromAPrompt) {
  std::vector<SequenceView> sequences(3, running(10, 1));
  sequences.push_back(running(0, 1000));
  EngineState state = with(sequences);
  state.cost = {0.2, 0.001};  // Even an empty step takes longer than the target.
  EXPECT_EQ(tokens_of(plan_step(state, kLimits, kNow), 3), kLimits.chunk_min);
}

TEST(StepPlan, TheFirstStepsAreShort) {
  EngineState state = with({waiting(1000)});
  state.cost = {};
  EXPECT_EQ(tokens_of(plan_step(state, kLimits, kNow), 0), 64);
}

TEST(StepPlan, AbandonedStepsMakeTheNextShorter) {
  EngineState state = with({waiting(1000)});
  state.abandoned = 2;
  EXPECT_EQ(tokens_of(plan_step(state, kLimits, kNow), 0), 25);
}

TEST(StepPlan, AStepEndsBeforeTheEarliestLimitInIt) {
  EngineState state = with({running(10, 1), running(0, 1000)});
  state.sequences[0].stop_at = kNow + Duration::from_ms(40);
  const StepPlan plan = plan_step(state, kLimits, kNow);
  EXPECT_EQ(tokens_of(plan, 0), 1);
  EXPECT_EQ(tokens_of(plan, 1), 39);
  EXPECT_EQ(plan.stop_at, kNow + Duration::from_ms(40));
}

TEST(StepPlan, WhoCannotGetATokenInTimeIsLeftOut) {
  EngineState state = with({running(10, 1), running(10, 1)});
  state.cost = {0.050, 0.001};
  state.sequences[0].stop_at = kNow + Duration::from_ms(20);
  const StepPlan plan = plan_step(state, kLimits, kNow);
  EXPECT_EQ(tokens_of(plan, 0), 0);
  EXPECT_EQ(tokens_of(plan, 1), 1);
  EXPECT_EQ(plan.stop_at, Instant::never());
  state.sequences.pop_back();  // Alone, nobody loses by trying.
  EXPECT_EQ(tokens_of(plan_step(state, kLimits, kNow), 0), 1);
}

TEST(StepPlan, WhatIsOverIsEndedAndNotComputed) {
  EngineState state = with({running(10, 1), running(10, 1)});
  state.sequences[0].over = true;
  const StepPlan plan = plan_step(state, kLimits, kNow);
  EXPECT_EQ(plan.ends, std::vector<size_t>{0});
  EXPECT_EQ(tokens_of(plan, 0), 0);
}

TEST(StepPlan, RequestsAreAdmittedByPriorityThenAge) {
  EngineState state = with({waiting(10), waiting(10), waiting(10), running(5, 1), running(5, 1), running(5, 1)});
  state.sequences[0].priority = Priority::kLow;
  state.sequences[1].submitted = kNow + Duration::from_ms(1);
  EXPECT_EQ(plan_step(state, kLimits, kNow).admits, std::vector<size_t>{2});
  state.sequences[1].priority = Priority::kHigh;
  EXPECT_EQ(plan_step(state, kLimits, kNow).admits, std::vector<size_t>{1});
}

TEST(StepPlan, WaitingRaisesThePriority) {
  EngineState state = with({waiting(10), waiting(10), running(5, 1), running(5, 1), running(5, 1)});
  state.sequences[0].priority = Priority::kLow;
  state.sequences[1].priority = Priority::kHigh;
  EXPECT_EQ(plan_step(state, kLimits, kNow).admits, std::vector<size_t>{1});
  state.sequences[0].submitted = Instant::from_ns(kNow.ns() - 2 * kLimits.aging.ns());
  EXPECT_EQ(plan_step(state, kLimits, kNow).admits, std::vector<size_t>{0});
}

TEST(StepPlan, NobodyIsAdmittedBeyondTheRoom) {
  EngineState state = with({running(64, 1), waiting(640)});
  state.pages_available = 11;  // One for the answer to go on with, ten for the prompt: one more is wanted in reserve.
  EXPECT_EQ(plan_step(state, kLimits, kNow).admits.size(), 0u);
  state.pages_available = 12;
  EXPECT_EQ(plan_step(state, kLimits, kNow).admits.size(), 1u);
}

TEST(StepPlan, ALargeRequestIsNotOvertaken) {
  EngineState state = with({running(64, 1), waiting(640), waiting(1)});
  state.sequences[2].submitted = kNow + Duration::from_ms(1);
  state.pages_available = 6;
  EXPECT_TRUE(plan_step(state, kLimits, kNow).admits.empty());
}

TEST(StepPlan, TheLastInRankGivesUpItsPagesWhenAnAnswerNeedsOne) {
  EngineState state = with({running(64, 1), running(30, 1), running(40, 1)});
  state.sequences[1].submitted = kNow + Duration::from_ms(2);
  state.pages_available = 0;
  const StepPlan plan = plan_step(state, kLimits, kNow);
  EXPECT_EQ(plan.parks, std::vector<size_t>{1});
  EXPECT_EQ(tokens_of(plan, 0), 1);
  EXPECT_EQ(tokens_of(plan, 2), 1);
}

TEST(StepPlan, PromptsThatHoldAllPagesDoNotWaitForEachOther) {
  EngineState state = with({running(64, 200), running(64, 200)});
  state.pages_available = 0;
  const StepPlan plan = plan_step(state, kLimits, kNow);
  EXPECT_EQ(plan.parks, std::vector<size_t>{1});
  EXPECT_GT(tokens_of(plan, 0), 0);
}

TEST(StepPlan, ASlowReaderIsLeftAloneAndGivesItsPlaceToWhoWaits) {
  EngineState state = with({running(10, 1), running(10, 1), running(10, 1), running(10, 1)});
  state.sequences[1].held = true;
  EXPECT_EQ(tokens_of(plan_step(state, kLimits, kNow), 1), 0);
  EXPECT_TRUE(plan_step(state, kLimits, kNow).parks.empty());
  state.sequences.push_back(waiting(10));
  const StepPlan plan = plan_step(state, kLimits, kNow);
  EXPECT_EQ(plan.parks, std::vector<size_t>{1});
  EXPECT_EQ(plan.admits, std::vector<size_t>{4});
}

TEST(StepPlan, AfterAFailureEachOfTheStepRunsAlone) {
  EngineState state = with({running(10, 1), running(10, 1), running(10, 300)});
  state.sequences[1].suspect = state.sequences[2].suspect = true;
  const StepPlan plan = plan_step(state, kLimits, kNow);
  ASSERT_EQ(plan.slices.size(), 1u);
  EXPECT_EQ(plan.slices[0].sequence, 1u);
}

TEST(StepPlan, WithNothingToComputeItTellsWhenToLookAgain) {
  EngineState state = with({running(10, 1)});
  state.sequences[0].held = true;
  state.sequences[0].stop_at = kNow + Duration::from_ms(5);
  const StepPlan plan = plan_step(state, kLimits, kNow);
  EXPECT_TRUE(plan.slices.empty());
  EXPECT_EQ(plan.look_at, kNow + Duration::from_ms(5));
}

int drafts_of(const StepPlan& plan, size_t sequence) {
  int drafts = 0;
  for (const PlannedSlice& slice : plan.slices) drafts += slice.sequence == sequence ? slice.drafts : 0;
  return drafts;
}

EngineState with_drafts(std::vector<int> wanted) {
  std::vector<SequenceView> answers;
  for (const int each : wanted) {
    answers.push_back(running(63, 1));
    answers.back().draft_tokens = each;
  }
  EngineState state = with(answers);
  state.logits_max = 12;
  return state;
}

TEST(StepPlan, DraftsTakeTheRowsThatAnswersLeave) {
  const StepPlan plan = plan_step(with_drafts({7, 0, 5}), kLimits, kNow);
  EXPECT_EQ(drafts_of(plan, 0), 7);
  EXPECT_EQ(drafts_of(plan, 1), 0);
  EXPECT_EQ(drafts_of(plan, 2), 2);
  EXPECT_EQ(tokens_of(plan, 0), 1);
}

TEST(StepPlan, DraftsTakeAQuarterOfAPromptsTokensAtMost) {
  EngineState state = with_drafts({7, 5});
  state.logits_max = 100;
  state.sequences.push_back(running(0, 300));
  EngineState without = state;
  for (SequenceView& view : without.sequences) view.draft_tokens = 0;
  const int prompt = tokens_of(plan_step(without, kLimits, kNow), 2);
  const StepPlan plan = plan_step(state, kLimits, kNow);
  const int drafts = drafts_of(plan, 0) + drafts_of(plan, 1);
  EXPECT_GT(drafts, 0);
  EXPECT_EQ(drafts, std::min(12, prompt / 4));
  EXPECT_EQ(tokens_of(plan, 2), prompt - drafts);
  // The prompt's last token wants logits as well.
  state.logits_max = 5;
  EXPECT_EQ(drafts_of(plan_step(state, kLimits, kNow), 0), 2);
  // Where a limit is near, the prompt alone fills the time.
  state.sequences[1].stop_at = kNow + Duration::from_ms(5);
  EXPECT_EQ(drafts_of(plan_step(state, kLimits, kNow), 0), 0);
}

TEST(StepPlan, DraftsGetPagesThatAreFreeAndNoOthers) {
  EngineState state = with_drafts({7, 5});
  state.pages_available = 1;  // The due token fills the page.
  const StepPlan plan = plan_step(state, kLimits, kNow);
  EXPECT_TRUE(plan.parks.empty());
  EXPECT_EQ(drafts_of(plan, 0), 7);
  EXPECT_EQ(drafts_of(plan, 1), 0);
}

TEST(StepPlan, DraftsDoNotMakeAStepMissALimit) {
  EngineState state = with_drafts({7, 0});
  state.sequences[1].stop_at = kNow + Duration::from_ms(6);
  EXPECT_EQ(drafts_of(plan_step(state, kLimits, kNow), 0), 4);
}

TEST(StepPlan, StepsThatTakeLongAnywayHaveDraftsToo) {
  EngineState state = with_drafts({7});
  state.cost = {.fixed = 2 * kLimits.step_target.seconds(), .per_token = kLimits.step_target.seconds() / 10};
  EXPECT_EQ(drafts_of(plan_step(state, kLimits, kNow), 0), 7);
  state.sequences[0].stop_at = kNow + state.cost.time(1) + Duration::from_ms(1);
  EXPECT_EQ(drafts_of(plan_step(state, kLimits, kNow), 0), 0);
}

TEST(StepPlan, WhatLackedPagesLetsOthersInOnlyWhenItIsGone) {
  EngineState state = with({running(100, 1), waiting(100)});
  state.shortfall = 1;
  EXPECT_TRUE(plan_step(state, kLimits, kNow).admits.empty());
  state = with({waiting(100), waiting(100)});
  state.shortfall = 1;
  const StepPlan plan = plan_step(state, kLimits, kNow);
  EXPECT_EQ(plan.admits, std::vector<size_t>{0}) << "Nobody runs who could make an end of it.";
  EXPECT_FALSE(plan.slices.empty());
}

}  // namespace
}  // namespace infer::engine
