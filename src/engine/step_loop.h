// The engine's loop, one turn at a time: plan a step (step_plan.h), run it, commit what came out.
//
// It owns all requests inside the engine, their pages and the prefix index. Between the layers of a step it looks at
// limits and cancellations: a request outside the step ends on the spot; one inside ends after the step was abandoned,
// which changes nothing for the others, and the next turn plans anew. A step that fails is tried again with its
// requests one at a time, so that only the one at fault pays. Several answers to one prompt wait until one of them has
// computed it; those for which there are places then fork its pages, the others find them in the prefix index. What a
// grammar allows is found out between steps, in portions: one that takes long keeps its own request waiting and nobody
// else for more than a step.
//
// Each look is a beat of the heart that the watchdog listens to. A request that it has ended meanwhile is let go like
// one that has ended by itself, and a step with one is given up.
//
// Drafts of what an answer may say next are verified in the same step as the token that is due: their rows' logits are
// sampled one after the other, as without drafts, until one chooses something else than the draft; what lies behind is
// forgotten. Logits do not depend on what else is in a step, so answers are the same with and without. Where there is a
// draft model (draft_model.h), it guesses between plan and step, and reads what answers have said before plans.
//
// While no request is there, and has not been for a moment, idle work (idle_work.h) gets its portions; the first
// request that comes ends one.
// Pages of a request's beginning that only the disk has are waited for, though no longer than computing them would take
// (kv/prefix_store.h); others go on meanwhile.
//
// Invariants: each request that was taken in ends exactly once; when none is left, only the prefix index holds pages.
// Ownership: borrows everything, which must outlive it. Thread safety: one thread (the engine's); change_levels(),
// set_speculation(), set_running_max(), set_on_step(), published(), hinted_pages() and heartbeat() from any.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "base/bounded_queue.h"
#include "base/published.h"
#include "base/result.h"
#include "base/rng.h"
#include "base/time.h"
#include "engine/active_request.h"
#include "engine/draft_model.h"
#include "engine/engine_limits.h"
#include "engine/engine_snapshot.h"
#include "engine/heartbeat.h"
#include "engine/idle_work.h"
#include "engine/likelihood_share.h"
#include "engine/step_plan.h"
#include "engine/step_runner.h"
#include "kv/prefix_index.h"
#include "model/step_batch.h"
#include "tokenizer/tokenizer.h"

namespace infer::engine {

class StepLoop final : private model::StepWatch {
 public:
  // The limits are valid; those that the runner cannot serve are lowered to what it can.
  // `stop` abandons a step, so that end_all can follow soon. idle: may be null. store: where prefixes are saved, or
  // null; its on_done calls for a turn. draft: of a small model with the same vocabulary, or null.
  StepLoop(StepRunner& runner, const tokenizer::Tokenizer& tokenizer, const EngineLimits& limits, const Clock& clock,
           BoundedQueue<Submission>& inbox, CancelToken stop, IdleWork* idle = nullptr,
           kv::PrefixStore* store = nullptr, std::unique_ptr<StepRunner> draft = nullptr);
  // Ends what is left (shutdown).
  ~StepLoop() override;
  StepLoop(const StepLoop&) = delete;
  StepLoop& operator=(const StepLoop&) = delete;

  const EngineLimits& limits() const { return limits_; }

  struct Turn {
    bool computed = false;               // A step was run, whatever became of it.
    Instant look_at = Instant::never();  // Else: when the next turn has something to do, unless somebody calls before.
  };
  Turn turn();
  // Ends everything, also what is still in the inbox.
  void end_all(CancelReason reason);
  // Waits until what ended is on the disk, or until `call` says stop.
  void finish_saving(const CallContext& call);

  // What the pages of all requests, running ones too, shall do from the next turn on. From any thread.
  // other: of half of the requests that start from then on (Engine::change_levels).
  void change_levels(const kv::LevelPolicy& levels, const std::optional<kv::LevelPolicy>& other = {});

  // As of the last turn.
  EngineSnapshot published() const { return published_.load(); }
  Heartbeat& heartbeat() { return heartbeat_; }
  // From the next step on; from any thread. 0 <= min_accept_rate <= 1.
  void set_speculation(bool enabled, float min_accept_rate);
  // Requests with pages at the same time, from the next step on: at least 1, at most the limit. From any thread.
  void set_running_max(int running_max);
  // Engine::set_on_step.
  void set_on_step(std::function<void(Instant now)> on_step);
  int hinted_pages(std::span<const TokenId> tokens) const { return index_.hinted_pages(tokens); }

  // Requests that have not ended.
  int requests() const;
  // Whether pages, users and index agree. For tests and simulation; linear in the number of pages.
  bool check_integrity() const;

 private:
  Status look() override;
  void tell_step(Instant now);

  void take_in();
  void apply_levels();
  void let_go();
  void settle_leaders();
  void build_state(Instant now);
  SpeculationLimits speculation_limits() const;
  void read_for_drafts();
  RowCost mixed_cost(int answers, int64_t prompt_tokens) const;
  void propose_drafts();
  Status make_drafts(StepPlan& plan);
  void note_drafts(ActiveRequest& active, int drafted, int accepted);
  bool make_room_for_requests();
  Instant run_idle_work();
  void begin_sample(ActiveRequest& active);
  void hand_over_sample(ActiveRequest& active, FinishReason reason);
  bool awaits_disk(ActiveRequest& active, Instant now);
  SequenceView view_of(ActiveRequest& active, bool look_for_prefix, Instant now);
  void apply(const StepPlan& plan, Instant now);
  void free_pages_for(const StepPlan& plan);
  void run(StepPlan& plan, Instant start);
  void commit(const StepPlan& plan);
  void commit_embedding(ActiveRequest& active, int computed);
  void commit_answer(const PlannedSlice& slice, int computed, int first_row);
  double draft_price(int drafts, double draft_seconds) const;
  void share_prompt(ActiveRequest& leader, std::span<const float> logits);
  // The next token of a request, from the logits or from those that it kept, with at most this time for its grammar.
  // Its end, if it is that.
  struct Outcome {
    Ending ending;
    std::optional<Error> error;
  };
  std::optional<Outcome> choose(ActiveRequest& active, std::optional<std::span<const float>> logits, Duration time);
  void end_as(ActiveRequest& active, std::optional<Outcome> outcome);
  void choose_open_tokens();
  void announce_answers();
  Instant earliest_limit() const;
  void fail(const StepPlan& plan, const Error& error);
  void end(ActiveRequest& active, const Ending& ending, std::optional<Error> error, Instant now);
  int measured_slice(const StepPlan& plan);
  size_t waiting() const;  // Requests that have no place.
  void note_nll(ActiveRequest& active, std::span<const float> logits);
  void publish(Instant now);
  void publish_kv();

  StepRunner& runner_;
  const tokenizer::Tokenizer& tokenizer_;
  const EngineLimits limits_;
  const Clock& clock_;
  BoundedQueue<Submission>& inbox_;
  const CancelToken stop_;
  IdleWork* const idle_;
  std::mutex on_step_mutex_;
  std::function<void(Instant)> on_step_;  // Guarded by on_step_mutex_.
  std::mutex levels_mutex_;
  struct Levels {
    kv::LevelPolicy levels{};
    std::optional<kv::LevelPolicy> other{};
  };
  std::optional<Levels> new_levels_;  // Guarded by levels_mutex_.
  std::optional<kv::LevelPolicy> other_levels_;
  Rng lots_{1};  // Who gets the others.
  Heartbeat heartbeat_;

  std::optional<DraftModel> draft_model_;
  kv::PrefixStore* const store_;
  kv::PrefixIndex index_;
  const kv::SequenceCache empty_;                         // What matches in the index are looked for with.
  std::vector<std::unique_ptr<ActiveRequest>> requests_;  // In order of their arrival.
  std::vector<Submission> arrivals_;
  Instant disk_until_ = Instant::never();  // The earliest end of a wait for the disk.
  EngineState state_;                      // Its sequences are requests_, one to one.
  std::vector<model::SequenceSlice> slices_;
  StepCost cost_;
  RowCost row_cost_;  // Of steps of answers.
  // Of the last step that was computed.
  struct StepFacts {
    int answers = 0;          // That got their next token,
    int drafts = 0;           // and more that were to be verified.
    bool has_prompt = false;  // Tokens of a prompt besides.
    double seconds = 0;
    double own_seconds = 0;   // Without what other programs held it up by.
    double bare_seconds = 0;  // What it would have taken without drafts.
  } step_;
  AcceptWindow accept_window_;  // Of all requests.
  std::vector<DraftJob> draft_jobs_;
  double draft_least_ = 0;  // What a guess must have as a chance.
  std::atomic<bool> speculates_;
  std::atomic<float> min_accept_rate_;
  std::atomic<int> running_max_;
  // Whose tokens' likelihoods are measured: of one answer a step, by turns, in as many steps as that may cost.
  size_t measured_turn_ = 0;
  LikelihoodShare likelihood_share_;
  bool judges_ = false, measures_ = false;  // This one; in this step.
  Instant busy_at_{};                       // When there was a request last.
  EngineSnapshot snapshot_;
  Published<EngineSnapshot> published_;
};

}  // namespace infer::engine
