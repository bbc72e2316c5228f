#include "engine/active_request.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/check.h"
#include "sampling/constrained.h"

namespace infer::engine {

ActiveRequest::ActiveRequest(Request request, std::shared_ptr<AnswerStream> stream, std::shared_ptr<AnswerGroup> group,
                             Instant submitted, const tokenizer::Tokenizer& tokenizer, int context)
    : request_(std::move(request)),
      stream_(std::move(stream)),
      group_(std::move(group)),
      tokenizer_(tokenizer),
      context_(context),
      tokens_(request_.prompt),
      text_(AnswerText::make(request_.options.stops).value()),
      stage_ends_(stage_ends(request_.stages, submitted, request_.limits.total)),
      progress_(submitted) {
  result_.submitted = submitted;
  result_.prompt_tokens = static_cast<int>(tokens_.size());
  if (request_.options.grammar) constraint_.emplace(request_.options.grammar);
  enter_stage(0);
}

// ---- Its pages.

int ActiveRequest::due_prompt_tokens() const { return std::max(0, result_.prompt_tokens - cached_tokens()); }

int ActiveRequest::start(kv::SequenceCache cache, kv::PrefixIndex& index, int width, Instant now) {
  cache_.emplace(std::move(cache));
  if (wants_embedding()) {
    hidden_sum_.assign(static_cast<size_t>(width), 0.0f);
  } else {
    // The logits of the last token are needed, and pages do not hold them.
    index.adopt(tokens().first(tokens_.size() - 1), *cache_, cursor_);
  }
  if (!result_.started) {
    result_.started = now;
    result_.cached_tokens = cache_->length();
  }
  progress_ = now;
  return cache_->length();
}

void ActiveRequest::park() { give_up_cache(); }

// What its pages were like is part of its result.
void ActiveRequest::give_up_cache() {
  draft_sequence_.release();
  if (!cache_) return;
  result_.kv_pages = cache_->pages_at_levels();
  result_.kv_bytes = cache_->kv_bytes();
  result_.kv_bytes_f16 = cache_->kv_bytes_f16();
  if (cache_->levels() != nullptr) result_.kv_expected_divergence = cache_->levels()->expected_divergence();
  cache_.reset();
}

void ActiveRequest::start_from(const ActiveRequest& leader, Instant now) {
  cache_.emplace(leader.cache_->fork());
  cursor_ = leader.cursor_;
  set_arm(leader.arm());
  if (!result_.started) {
    result_.started = now;
    result_.cached_tokens = result_.prompt_tokens;
  }
  progress_ = now;
}

void ActiveRequest::computed(int count, int valid_tokens, kv::PrefixIndex& index) {
  result_.computed_tokens += count;
  failures = 0;
  if (cache_->length() > valid_tokens) cache_->truncate(valid_tokens);
  if (!wants_embedding()) index.keep(tokens(), *cache_, cursor_);
}

model::SequenceSlice ActiveRequest::slice(int count) {
  const std::span<const TokenId> due = tokens().subspan(static_cast<size_t>(cached_tokens()));
  const bool is_last = count == due_tokens();
  model::SequenceSlice slice{&*cache_, due.first(static_cast<size_t>(count)), is_last ? count - 1 : count, count};
  if (wants_embedding()) {
    slice.hidden_sum = hidden_sum_.data();
    if (*request().pooling == Pooling::kMean) slice.logits_begin = 0;
  }
  return slice;
}

// ---- Its drafts.

int ActiveRequest::drafts_max() const {
  // What is verified with the due token may all become tokens, and one more.
  int most = std::min(stage_tokens_left() - 1, static_cast<int>(stream_->room()) - 1);
  most = std::min(most, context_ - static_cast<int>(tokens_.size()));
  // Lowered pages cannot be taken back.
  const kv::LevelPolicy policy = cache_->policy();
  if (policy.mode != kv::KvMode::kF16) most = std::min(most, policy.recent_window);
  return std::clamp(most, 0, kv::kRewindTokens - 1);
}

bool ActiveRequest::wants_drafts(const SpeculationLimits& limits) const {
  if (!request_.speculate || !limits.enabled || wants_embedding()) return false;
  return !group_ || group_->prompt_computed;  // Else others will start where this step ends.
}

int ActiveRequest::propose_draft(const SpeculationLimits& limits, const DraftCosts& costs, const DraftModel* model,
                                 StepRows& step) {
  draft_.clear();
  probabilities_.clear();
  draft_seconds_ = 0;
  choice_ = {};
  if (!wants_drafts(limits)) return 0;
  const int most = std::min(drafts_max(), limits.draft_max);
  lookup_.propose(tokens_, most, draft_);
  std::array<DraftOffer, kDraftSources> offers{
      DraftOffer{.source = DraftSource::kText, .most = static_cast<int>(draft_.size())}};
  size_t count = 1;
  if (const auto lag = model != nullptr ? model->lag(draft_sequence_, tokens_) : std::nullopt) {
    offers[count++] = {.source = DraftSource::kModel, .most = most, .missing = *lag};
  }
  choice_ = speculation_.choose(limits, costs, {offers.data(), count}, step);
  draft_.resize(choice_.source == DraftSource::kText ? static_cast<size_t>(choice_.length) : 0);
  return choice_.length;
}

std::optional<DraftJob> ActiveRequest::draft_job(int most, double least, double share) {
  if (choice_.source != DraftSource::kModel || most == 0) return std::nullopt;
  return DraftJob{.sequence = &draft_sequence_,
                  .text = tokens_,
                  .most = most,
                  .least = least,
                  .share = share,
                  .trust = &speculation_.trust(),
                  .draft = &draft_,
                  .probabilities = &probabilities_};
}

int ActiveRequest::take_draft(const DraftJob& job) {
  draft_seconds_ = job.seconds;
  choice_.length = job.most;  // What the step had room for.
  return static_cast<int>(draft_.size());
}

std::span<const TokenId> ActiveRequest::tokens_with_draft(int drafts) {
  step_tokens_.assign(1, tokens_.back());
  step_tokens_.insert(step_tokens_.end(), draft_.begin(), draft_.begin() + drafts);
  return step_tokens_;
}

double ActiveRequest::drafts_verified(int drafted, int accepted, double price) {
  result_.drafted_tokens += drafted;
  result_.accepted_tokens += accepted;
  if (drafted == 0 && draft_seconds_ <= 0) choice_ = {};  // There was no room for it.
  if (choice_.source == DraftSource::kText) choice_.length = drafted;
  const DraftOutcome outcome{
      .choice = std::exchange(choice_, {}), .drafted = drafted, .accepted = accepted, .probabilities = probabilities_};
  draft_seconds_ = 0;
  return speculation_.observe(outcome, price);
}

// ---- Its limits.

namespace {

struct Limit {
  Instant at = Instant::never();
  PassedLimit which = PassedLimit::kNone;

  void earliest(Instant other, PassedLimit name) {
    if (other < at) *this = {other, name};
  }
};

Limit first_limit(const TimeLimits& limits, const RequestResult& result, std::optional<Instant> stall_since,
                  const std::vector<Instant>& stage_ends) {
  Limit limit;
  limit.earliest(limits.total.when(), PassedLimit::kTotal);
  if (limits.first_token && !result.first_token) {
    limit.earliest(result.submitted + *limits.first_token, PassedLimit::kFirstToken);
  }
  if (limits.stall && stall_since) limit.earliest(*stall_since + *limits.stall, PassedLimit::kStall);
  if (!stage_ends.empty()) limit.earliest(stage_ends.back(), PassedLimit::kStages);
  return limit;
}

}  // namespace

Instant ActiveRequest::stop_at() const {
  // It stalls once it has started, and not while its reader does.
  const bool may_stall = result_.started && !full_;
  return first_limit(request().limits, result_, may_stall ? std::optional(progress_) : std::nullopt, stage_ends_).at;
}

std::optional<Ending> ActiveRequest::ending(Instant now) const {
  const CancelToken cancel = stream_->cancel_token();
  if (cancel.cancelled()) return Ending{.reason = FinishReason::kCancelled, .cancel = cancel.reason()};
  const bool may_stall = result_.started && !full_;
  const Limit limit =
      first_limit(request().limits, result_, may_stall ? std::optional(progress_) : std::nullopt, stage_ends_);
  if (now < limit.at) return std::nullopt;
  return Ending{.reason = FinishReason::kDeadline, .limit = limit.which};
}

bool ActiveRequest::look_for_room(Instant now) {
  const bool was_full = std::exchange(full_, !stream_->has_room());
  if (was_full && !full_) progress_ = now;
  return !full_;
}

void ActiveRequest::settle_stage(Instant now) {
  while (stage_ + 1 < stage_ends_.size() && now >= stage_ends_[stage_]) enter_stage(stage_ + 1);
}

bool ActiveRequest::next_stage(Instant now) {
  if (stage_ + 1 >= stage_ends_.size()) return false;
  enter_stage(stage_ + 1);
  settle_stage(now);
  return true;
}

void ActiveRequest::enter_stage(size_t index) {
  stage_ = index;
  stage_tokens_ = 0;
  failures = 0;
  sampler_.reset();
  result_.stage = request().stages.empty() ? "normal" : request().stages[index].name;
}

// ---- Its answer.

int ActiveRequest::stage_tokens_left() const {
  int left = context_ + 1 - static_cast<int>(tokens_.size());  // The last token chosen needs no place of its own.
  const int most = request().options.tokens_max;
  if (most >= 0) left = std::min(left, most - result_.generated_tokens);
  if (!stage_ends_.empty() && request().stages[stage_].tokens_max >= 0) {
    left = std::min(left, request().stages[stage_].tokens_max - stage_tokens_);
  }
  return left;
}

namespace {

// For one choice: so long takes no grammar that can be followed.
constexpr Duration kChoiceTimeMax = Duration::from_seconds(10);

bool is_stop(const Error& error) { return error.code == ErrorCode::kDeadline || error.code == ErrorCode::kCancelled; }

}  // namespace

void ActiveRequest::make_sampler() {
  const sampling::SamplingParams params =
      request().stages.empty() ? request().sampling : stage_sampling(request().stages[stage_], request().sampling);
  sampler_ = sampling::Sampler::make(params, tokenizer_.vocabulary_size(), context_).value();
  for (const TokenId token : tokens_) sampler_->accept(token);
}

Result<TokenId> ActiveRequest::sample(std::span<const float> logits, const CallContext& call) {
  if (!sampler_) make_sampler();
  if (!constraint_) return sampler_->sample(logits);
  return sampling::sample_constrained(*sampler_, *constraint_, logits, call);
}

Result<std::optional<FinishReason>> ActiveRequest::choose_token(std::span<const float> logits,
                                                                const CallContext& call) {
  using Finish = std::optional<FinishReason>;
  if (stage_tokens_left() <= 0) return Finish(FinishReason::kLength);
  if (constraint_ && constraint_->must_end()) return Finish(FinishReason::kStop);
  // Embeddings beyond the vocabulary are padding: they have no text.
  logits = logits.first(static_cast<size_t>(tokenizer_.vocabulary_size()));
  const Instant start = call.clock.now();
  const Result<TokenId> chosen = sample(logits, call);
  if (!chosen) {
    if (!is_stop(chosen.error())) return Error(chosen.error());
    ++open_attempts_;
    open_time_ = open_time_ + (call.clock.now() - start);
    if (kChoiceTimeMax < open_time_) {
      return Error{ErrorCode::kExhausted,
                   "the tokens that the grammar allows take too long to find: make the grammar less ambiguous"};
    }
    if (!choosing()) open_logits_.assign(logits.begin(), logits.end());
    return Finish();
  }
  const Finish finish = accept(*chosen, logits, call.clock.now());
  open_logits_.clear();
  open_attempts_ = 0;
  open_time_ = {};
  return finish;
}

Result<std::optional<FinishReason>> ActiveRequest::choose_open_token(const CallContext& call) {
  INFER_CHECK(choosing());
  return choose_token(open_logits_, call);
}

Duration ActiveRequest::choice_time(Duration least, Duration most) const {
  return std::min(most, Duration::from_ns(least.ns() << std::min(open_attempts_, 8)));
}

std::optional<FinishReason> ActiveRequest::accept(TokenId token, std::span<const float> logits, Instant now) {
  if (token == kNoToken) return FinishReason::kNoToken;
  if (!result_.first_token) result_.first_token = now;
  result_.last_token = now;
  progress_ = now;
  if (!request().options.ignore_end_tokens && tokenizer_.ends_generation(token)) return FinishReason::kStop;

  AnswerPiece piece{.token = token, .text = {}, .logprobs = std::nullopt};
  if (request().top_logprobs >= 0) piece.logprobs = sampling::find_logprobs(logits, token, request().top_logprobs);
  if (constraint_) INFER_CHECK(constraint_->accept(token));
  sampler_->accept(token);
  tokens_.push_back(token);
  ++result_.generated_tokens;
  ++stage_tokens_;
  const bool stopped = text_.push(tokenizer_.piece(token, request().options.shows(token)), piece.text);
  stream_->push(std::move(piece));
  if (stopped) return FinishReason::kStop;
  if (constraint_ && constraint_->must_end()) return FinishReason::kStop;
  if (stage_tokens_left() <= 0) return FinishReason::kLength;
  return std::nullopt;
}

void ActiveRequest::note_nll(double nats, std::span<const float> logits) {
  result_.nll += nats;
  ++result_.nll_tokens;
  if (!sample_) return;
  const auto* const levels = cache_ ? cache_->levels() : nullptr;
  const double expected = levels != nullptr ? levels->expected_divergence().value_or(0) : 0;
  sample_->add(static_cast<int>(tokens_.size()) - 1, static_cast<float>(nats), logits, expected);
}

void ActiveRequest::begin_sample(size_t rows_max) {
  sample_.emplace();
  sample_->rows_max = rows_max;
}

std::optional<AnswerSample> ActiveRequest::take_sample() {
  if (sample_) {
    sample_->tokens = tokens_;
    sample_->arm = arm();
  }
  return std::exchange(sample_, std::nullopt);
}

void ActiveRequest::take_embedding() {
  double square = 0;
  for (const float x : hidden_sum_) square += static_cast<double>(x) * static_cast<double>(x);
  const double scale = square > 0 ? 1 / std::sqrt(square) : 0;
  for (float& x : hidden_sum_) x = static_cast<float>(static_cast<double>(x) * scale);
  result_.embedding = std::move(hidden_sum_);
}

bool ActiveRequest::finish(const Ending& ending, std::optional<Error> error, Instant now) {
  AnswerPiece rest;
  text_.finish(rest.text);
  if (!rest.text.empty()) stream_->push(std::move(rest));
  result_.finish_reason = ending.reason;
  result_.passed_limit = ending.limit;
  result_.cancel_reason = ending.cancel;
  result_.error = std::move(error);
  result_.ended = now;
  give_up_cache();
  over_ = true;
  counted_ = stream_->finish(result_);
  return counted_;
}

std::optional<FinishReason> ActiveRequest::ended_outside() {
  if (counted_ || !stream_->finished()) return std::nullopt;
  counted_ = true;
  return stream_->result().finish_reason;
}

}  // namespace infer::engine
