// A request inside the engine: its tokens, its place in the KV cache, its sampler, its place in its grammar, its stage,
// and its limits. What it has chosen and where its grammar is do not depend on its pages, so that both survive when it
// has to give them up; a stage that takes over goes on in the same grammar.
// Thread safety: one thread (the engine's).
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "base/result.h"
#include "engine/answer_sample.h"
#include "engine/answer_stream.h"
#include "engine/answer_text.h"
#include "engine/draft_lookup.h"
#include "engine/draft_model.h"
#include "engine/request.h"
#include "engine/speculation.h"
#include "grammar/token_automaton.h"
#include "kv/prefix_index.h"
#include "kv/sequence_cache.h"
#include "model/step_batch.h"
#include "sampling/sampler.h"
#include "tokenizer/tokenizer.h"

namespace infer::engine {

// A request on its way to the engine. It was checked.
struct Submission {
  Request request;
  std::vector<std::shared_ptr<AnswerStream>> streams;  // One for each answer.
  Instant submitted;
};

class ActiveRequest;

// What the answers to one prompt share: one of them, the leader, computes it for all.
struct AnswerGroup {
  const ActiveRequest* leader = nullptr;  // Settled before each step.
  bool prompt_computed = false;
};

// Why a request has to end now.
struct Ending {
  FinishReason reason;
  PassedLimit limit = PassedLimit::kNone;
  CancelReason cancel = CancelReason::kNone;
};

// One answer of a request.
class ActiveRequest {
 public:
  // context: of a sequence. The request was checked, so that its parts can be made. group: null for a single answer.
  ActiveRequest(Request request, std::shared_ptr<AnswerStream> stream, std::shared_ptr<AnswerGroup> group,
                Instant submitted, const tokenizer::Tokenizer& tokenizer, int context);

  const Request& request() const { return request_; }
  Instant submitted() const { return result_.submitted; }
  AnswerGroup* group() const { return group_.get(); }
  // Another answer computes the prompt for it.
  bool awaits_prompt() const { return group_ && !group_->prompt_computed && group_->leader != this; }
  const RequestResult& result() const { return result_; }
  std::span<const TokenId> tokens() const { return tokens_; }  // Prompt and answer.
  bool ended() const { return over_ || stream_->finished(); }
  // How, where the watchdog has ended it: told once.
  std::optional<FinishReason> ended_outside();
  // It has ended, and that is known to its reader.
  bool may_go() const { return stream_->finished(); }
  // Tells the reader of the tokens that were chosen since the last time.
  void announce() { stream_->announce(); }

  // Which of two settings that are compared it has: 0, or 1 for the other; -1: none are.
  int arm() const { return result_.arm; }
  void set_arm(int arm) { result_.arm = arm; }

  // ---- Its pages.
  bool running() const { return cache_.has_value(); }
  kv::SequenceCache& cache() { return *cache_; }
  const kv::PrefixCursor& cursor() const { return cursor_; }
  int cached_tokens() const { return cache_ ? cache_->length() : 0; }
  int due_tokens() const { return static_cast<int>(tokens_.size()) - cached_tokens(); }
  // Prompt tokens that it still has to compute.
  int due_prompt_tokens() const;
  // Starts with the pages of its beginning that the index has. Returns how many tokens that are. width: of a hidden
  // state.
  int start(kv::SequenceCache cache, kv::PrefixIndex& index, int width, Instant now);
  // Starts where the leader is, who has computed the prompt and chosen nothing yet.
  void start_from(const ActiveRequest& leader, Instant now);
  // Gives its pages up; what the index holds of them stays there.
  void park();
  // After a step that computed `count` of its tokens and drafts. What lies behind `valid_tokens` was not accepted and
  // is forgotten.
  void computed(int count, int valid_tokens, kv::PrefixIndex& index);

  // ---- Its drafts: what its answer may say next (draft_lookup.h, draft_model.h, speculation.h).
  // At most this many tokens can be verified in the next step: by its limits and its reader's room.
  int drafts_max() const;
  bool wants_drafts(const SpeculationLimits& limits) const;
  // Proposes as many as are worth it, given what else the step computes; returns how many. model: null where there is
  // none.
  int propose_draft(const SpeculationLimits& limits, const DraftCosts& costs, const DraftModel* model, StepRows& step);
  // Where the draft model has to guess `most` of them. least, share: see DraftJob.
  std::optional<DraftJob> draft_job(int most, double least, double share);
  // What of them there is in the end, with what the draft model took for it.
  int take_draft(const DraftJob& job);
  DraftSequence& draft_sequence() { return draft_sequence_; }
  DraftSource draft_source() const { return choice_.source; }
  // The due token and the first `drafts` proposed ones.
  std::span<const TokenId> tokens_with_draft(int drafts);
  // The draft's token at the place of the one chosen last was right.
  bool draft_agrees(int place) const { return draft_[static_cast<size_t>(place)] == tokens_.back(); }
  // What the draft model took for it.
  double draft_seconds() const { return draft_seconds_; }
  // After a step. price: see Speculation. How many tokens the draft gained.
  double drafts_verified(int drafted, int accepted, double price);

  // What the next `count` due tokens are computed for.
  model::SequenceSlice slice(int count);

  // ---- Its limits.
  // The earliest instant at which ending() will tell a passed limit.
  Instant stop_at() const;
  std::optional<Ending> ending(Instant now) const;
  // Looks whether its reader keeps up.
  bool look_for_room(Instant now);
  bool full() const { return full_; }
  // Goes on to the stage of this time.
  void settle_stage(Instant now);
  // After an error: false when there is no stage left to go on with.
  bool next_stage(Instant now);

  // ---- Its answer.
  // logits: of its last token. Chooses the next one and hands it to the reader. The end of the answer, if it is that.
  // With a grammar, finding out which tokens may come next ends when `call` says stop: then the logits are kept and
  // the choice stays open. kExhausted: the grammar is too ambiguous to be followed.
  Result<std::optional<FinishReason>> choose_token(std::span<const float> logits, const CallContext& call);
  // The logits are there and the choice is open.
  bool choosing() const { return !open_logits_.empty(); }
  // For how long the next attempt may look; `most` bounds what doubles with each attempt.
  Duration choice_time(Duration least, Duration most) const;
  // Goes on with an open choice.
  Result<std::optional<FinishReason>> choose_open_token(const CallContext& call);
  // The token that was generated last had this negative log-likelihood, by these logits.
  void note_nll(double nats, std::span<const float> logits);
  // Its answer is to be checked later. Before its first token.
  void begin_sample(size_t rows_max);
  // The sample with all that is known by now, if one was begun and not dropped.
  std::optional<AnswerSample> take_sample();
  void drop_sample() { sample_.reset(); }
  CancelToken cancel_token() const { return stream_->cancel_token(); }
  // False when the watchdog has ended it.
  bool finish(const Ending& ending, std::optional<Error> error, Instant now);

  // ---- Its embedding.
  bool wants_embedding() const { return request().pooling.has_value(); }
  // All tokens are computed: the result has the vector.
  void take_embedding();

  int failures = 0;      // Steps with it that failed in a row.
  bool in_step = false;  // Of the step that runs now.
  // Until when it waits for pages on the disk. never(): it has not asked for them; Instant(): it waits no more.
  Instant disk_until = Instant::never();

 private:
  void enter_stage(size_t index);
  void make_sampler();
  Result<TokenId> sample(std::span<const float> logits, const CallContext& call);
  std::optional<FinishReason> accept(TokenId token, std::span<const float> logits, Instant now);
  int stage_tokens_left() const;
  void give_up_cache();

  const Request request_;
  const std::shared_ptr<AnswerStream> stream_;
  const std::shared_ptr<AnswerGroup> group_;
  const tokenizer::Tokenizer& tokenizer_;
  int context_;
  std::vector<TokenId> tokens_;
  DraftLookup lookup_;
  Speculation speculation_;
  DraftSequence draft_sequence_;
  DraftChoice choice_;                // For the next step,
  std::vector<TokenId> draft_;        // and the tokens,
  std::vector<float> probabilities_;  // which the draft model gave these,
  double draft_seconds_ = 0;          // and took so long for.
  std::vector<TokenId> step_tokens_;  // The due token and the draft, in one piece.
  std::optional<kv::SequenceCache> cache_;
  kv::PrefixCursor cursor_;
  AnswerText text_;
  std::unique_ptr<sampling::Sampler> sampler_;  // Made for the first token, and anew for each stage.
  std::optional<grammar::Constraint> constraint_;
  std::vector<float> open_logits_;   // [vocabulary] while a choice is open, else empty.
  int open_attempts_ = 0;            // At the choice that is open,
  Duration open_time_;               // and what they took.
  std::vector<Instant> stage_ends_;  // Empty: without stages.
  size_t stage_ = 0;
  int stage_tokens_ = 0;  // Generated in this stage.
  bool full_ = false;
  bool over_ = false;              // It was to end here,
  bool counted_ = false;           // and it did, or was found ended.
  Instant progress_;               // When it last got pages, a token, or room.
  std::vector<float> hidden_sum_;  // [width], of an embedding.
  std::optional<AnswerSample> sample_;
  RequestResult result_;
};

}  // namespace infer::engine
