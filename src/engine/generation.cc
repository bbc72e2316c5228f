#include "engine/generation.h"

#include <algorithm>
#include <limits>

#include "base/format.h"
#include "engine/answer_text.h"
#include "sampling/constrained.h"

namespace infer::engine {

namespace {

double per_second(int tokens, Duration time) {
  return tokens > 0 && time.ns() > 0 ? static_cast<double>(tokens) / time.seconds() : 0.0;
}

// The finish reason that a failed step or check means, if it is one.
std::optional<FinishReason> as_finish_reason(const Error& error) {
  if (error.code == ErrorCode::kDeadline) return FinishReason::kDeadline;
  if (error.code == ErrorCode::kCancelled) return FinishReason::kCancelled;
  return std::nullopt;
}

Result<FinishReason> reason_or_error(const Error& error) {
  if (const auto reason = as_finish_reason(error)) return *reason;
  return Error(error);
}

// The text of an answer on its way to the observer.
class ObservedText {
 public:
  ObservedText(AnswerText text, const GenerationObserver& observer, std::string& whole)
      : text_(std::move(text)), observer_(observer), whole_(whole) {}

  // True when a stop string is complete.
  bool push(std::string_view bytes) {
    std::string released;
    const bool stopped = text_.push(bytes, released);
    emit(released);
    return stopped;
  }
  void finish() {
    std::string released;
    text_.finish(released);
    emit(released);
  }

 private:
  void emit(const std::string& released) {
    if (released.empty()) return;
    whole_ += released;
    if (observer_.on_text) observer_.on_text(released);
  }

  AnswerText text_;
  const GenerationObserver& observer_;
  std::string& whole_;
};

// What is known of a turn while its answer grows.
struct Turn {
  const GenerationOptions& options;
  ObservedText& answer;
  GenerationResult& result;
  Instant start;
  Instant first_token{};
  std::optional<grammar::Constraint> constraint{};

  int tokens_left() const {
    return options.tokens_max < 0 ? std::numeric_limits<int>::max() : options.tokens_max - result.generated_tokens();
  }
};

}  // namespace

double GenerationResult::prefill_tokens_per_second() const { return per_second(prompt_tokens, prefill_time); }
double GenerationResult::decode_tokens_per_second() const { return per_second(generated_tokens() - 1, decode_time); }

struct Conversation::State {
  model::Model& model;
  const tokenizer::Tokenizer& tokenizer;
  sampling::SamplingParams params;
  std::unique_ptr<sampling::Sampler> sampler;
  kv::SequenceCache cache;
  ConversationDrafts* drafts;
  std::vector<TokenId> history;      // All tokens of the conversation; the cache holds the first of them.
  std::vector<TokenId> step_tokens;  // Of the step: the last of them and its draft,
  Duration step_time;                // and what it took.

  Result<GenerationResult> generate(std::span<const TokenId> prompt, const GenerationOptions& options,
                                    const CallContext& call, const GenerationObserver& observer);
  Status check_prompt(std::span<const TokenId> prompt, const GenerationOptions& options) const;
  // Computes tokens and leaves the logits of the last one in row 0.
  Status prefill(std::span<const TokenId> tokens, const CallContext& call, const GenerationObserver& observer);
  Result<FinishReason> decode(const GenerationOptions& options, const CallContext& call, Turn& turn);
  // The next token from a row of logits. The end of the answer, if it is that.
  Result<std::optional<FinishReason>> accept_next(int row, const CallContext& call, Turn& turn);
  // Next tokens from the rows of the last step, while its draft agrees. What was drafted wrongly is forgotten.
  Result<std::optional<FinishReason>> accept_step(const CallContext& call, Turn& turn);
  // The token chosen last, and what may follow it.
  Status run_step(const CallContext& call, const Turn& turn);
  int drafts_max(const Turn& turn) const;
  // kNoToken when the constraint, which may be null, leaves none.
  Result<TokenId> choose(int row, grammar::Constraint* constraint, const CallContext& call);
  // Back to at most `length` cached tokens and to `history_length`.
  Status restore(int length, size_t history_length);
  void accept(TokenId token);
};

void Conversation::State::accept(TokenId token) {
  sampler->accept(token);
  history.push_back(token);
}

Status Conversation::State::check_prompt(std::span<const TokenId> prompt, const GenerationOptions& options) const {
  INFER_TRY(check_options(options, tokenizer.vocabulary_size()));
  const int used = static_cast<int>(history.size());
  if (used == 0 && prompt.empty()) {
    return Error{ErrorCode::kInvalidArgument,
                 "the prompt is empty and the model adds no BOS token: give at least one token"};
  }
  if (prompt.size() > static_cast<size_t>(cache.context() - used)) {
    return Error{ErrorCode::kInvalidArgument,
                 format("the prompt has {} tokens, but only {} of the context of {} are free: shorten the prompt{} or "
                        "choose a larger context",
                        prompt.size(), cache.context() - used, cache.context(), used > 0 ? ", start afresh" : "")};
  }
  return {};
}

Status Conversation::State::prefill(std::span<const TokenId> tokens, const CallContext& call,
                                    const GenerationObserver& observer) {
  const auto step = static_cast<size_t>(model.options().tokens_per_step);
  for (size_t done = 0; done < tokens.size();) {
    const std::span<const TokenId> chunk = tokens.subspan(done, std::min(step, tokens.size() - done));
    const int count = static_cast<int>(chunk.size());
    const bool last = done + chunk.size() == tokens.size();
    const model::SequenceSlice slice{&cache, chunk, last ? count - 1 : count, count};
    const Instant start = call.clock.now();
    INFER_TRY(model.run({{&slice, 1}}, call));
    if (drafts != nullptr) drafts->observe_step(count, call.clock.now() - start);
    done += chunk.size();
    if (observer.on_prefill) observer.on_prefill(static_cast<int>(done), static_cast<int>(tokens.size()));
  }
  return {};
}

Result<FinishReason> Conversation::State::decode(const GenerationOptions& options, const CallContext& call,
                                                 Turn& turn) {
  turn.first_token = call.clock.now();
  if (options.grammar) turn.constraint.emplace(options.grammar);
  if (turn.constraint && turn.constraint->must_end()) return FinishReason::kStop;
  if (turn.tokens_left() <= 0) return FinishReason::kLength;
  step_tokens.clear();
  while (true) {
    const Result<std::optional<FinishReason>> finish = accept_step(call, turn);
    if (!finish) return reason_or_error(finish.error());
    if (*finish) return **finish;
    if (cache.length() == cache.context()) return FinishReason::kLength;
    const Status step = run_step(call, turn);
    if (!step) return reason_or_error(step.error());
  }
}

Result<std::optional<FinishReason>> Conversation::State::accept_next(int row, const CallContext& call, Turn& turn) {
  using Finish = std::optional<FinishReason>;
  std::optional<grammar::Constraint>& constraint = turn.constraint;
  GenerationResult& result = turn.result;
  INFER_ASSIGN(const TokenId token, choose(row, constraint ? &*constraint : nullptr, call));
  if (token == kNoToken) return Finish(FinishReason::kNoToken);
  const Instant now = call.clock.now();
  if (result.tokens.empty()) {
    turn.first_token = now;
    result.time_to_first_token = now - turn.start;
  }
  result.decode_time = now - turn.first_token;
  if (!turn.options.ignore_end_tokens && tokenizer.ends_generation(token)) return Finish(FinishReason::kStop);
  if (constraint) INFER_CHECK(constraint->accept(token));
  accept(token);
  result.tokens.push_back(token);
  if (turn.answer.push(tokenizer.piece(token, turn.options.shows(token)))) return Finish(FinishReason::kStop);
  if (constraint && constraint->must_end()) return Finish(FinishReason::kStop);
  return turn.tokens_left() <= 0 ? Finish(FinishReason::kLength) : Finish();
}

Result<std::optional<FinishReason>> Conversation::State::accept_step(const CallContext& call, Turn& turn) {
  const int drafted = std::max(0, static_cast<int>(step_tokens.size()) - 1);
  int accepted = 0;
  while (true) {
    const size_t before = history.size();
    Result<std::optional<FinishReason>> finish = accept_next(accepted, call, turn);
    const bool right = accepted < drafted && history.size() > before &&
                       history.back() == step_tokens[static_cast<size_t>(accepted) + 1];
    accepted += right ? 1 : 0;
    if (finish && !*finish && right) continue;
    // After it the cache holds what has been said, but for the last token where that was not drafted.
    cache.truncate(
        std::min(cache.length(), static_cast<int>(history.size()) - (right || history.size() == before ? 0 : 1)));
    if (drafts != nullptr && !step_tokens.empty()) drafts->verified(accepted, step_time);
    turn.result.drafted_tokens += drafted;
    turn.result.accepted_tokens += accepted;
    return finish;
  }
}

int Conversation::State::drafts_max(const Turn& turn) const {
  int most = std::min({turn.tokens_left() - 1, cache.context() - cache.length() - 1, kv::kRewindTokens - 1,
                       model.options().logits_per_step - 1, model.options().tokens_per_step - 1});
  // Lowered pages cannot be taken back.
  const kv::LevelPolicy& policy = model.options().levels;
  if (policy.mode != kv::KvMode::kF16) most = std::min(most, policy.recent_window);
  return most;
}

Status Conversation::State::run_step(const CallContext& call, const Turn& turn) {
  step_tokens.assign(1, history.back());
  if (drafts != nullptr) {
    INFER_ASSIGN(const std::span<const TokenId> draft, drafts->propose(history, drafts_max(turn), call));
    step_tokens.insert(step_tokens.end(), draft.begin(), draft.end());
  }
  const model::SequenceSlice slice{&cache, step_tokens, 0, static_cast<int>(step_tokens.size())};
  const Instant start = call.clock.now();
  INFER_TRY(model.run({{&slice, 1}}, call));
  step_time = call.clock.now() - start;
  return {};
}

Result<TokenId> Conversation::State::choose(int row, grammar::Constraint* constraint, const CallContext& call) {
  // Embeddings beyond the vocabulary are padding: they have no text.
  const auto logits = model.logits(row).first(static_cast<size_t>(tokenizer.vocabulary_size()));
  if (constraint) return sampling::sample_constrained(*sampler, *constraint, logits, call);
  return sampler->sample(logits);
}

Status Conversation::State::restore(int length, size_t history_length) {
  cache.truncate(length);
  history.resize(history_length);
  if (drafts != nullptr) drafts->begin();
  INFER_ASSIGN(sampler, sampling::Sampler::make(params, tokenizer.vocabulary_size(), model.options().context));
  for (const TokenId token : history) sampler->accept(token);
  return {};
}

Result<GenerationResult> Conversation::State::generate(std::span<const TokenId> prompt,
                                                       const GenerationOptions& options, const CallContext& call,
                                                       const GenerationObserver& observer) {
  const Instant start = call.clock.now();
  INFER_TRY(check_prompt(prompt, options));
  INFER_ASSIGN(AnswerText text, AnswerText::make(options.stops));

  GenerationResult result;
  result.prompt_tokens = static_cast<int>(prompt.size());
  ObservedText answer(std::move(text), observer, result.text);
  const int length_before = cache.length();
  cache.set_mark();  // Where restore() goes back to.
  const size_t history_before = history.size();

  // What the cache lacks: the token chosen last, and what a failed turn took along with a lowered page.
  std::vector<TokenId> tokens(history.begin() + length_before, history.end());
  tokens.insert(tokens.end(), prompt.begin(), prompt.end());
  const Status prefilled = prefill(tokens, call, observer);
  result.prefill_time = call.clock.now() - start;
  if (!prefilled) {
    // A prompt that was not computed whole is no part of the conversation.
    INFER_TRY(restore(length_before, history_before));
    const auto reason = as_finish_reason(prefilled.error());
    if (!reason) return Error(prefilled.error());
    result.finish_reason = *reason;
  } else {
    for (const TokenId token : prompt) accept(token);
    Turn turn{.options = options, .answer = answer, .result = result, .start = start};
    const Result<FinishReason> finish = decode(options, call, turn);
    if (!finish) {
      INFER_TRY(restore(length_before, history_before));
      return Error(finish.error());
    }
    result.finish_reason = *finish;
  }
  answer.finish();
  result.context_tokens = cache.length();
  result.kv_bytes = cache.kv_bytes();
  result.kv_bytes_f16 = cache.kv_bytes_f16();
  result.kv_pages = cache.pages_at_levels();
  for (int layer = 0; layer < cache.layers(); ++layer) result.kv_layers.push_back(cache.pages_at_levels(layer));
  if (cache.levels() != nullptr) result.kv_expected_divergence = cache.levels()->expected_divergence();
  return result;
}

Conversation::Conversation(std::unique_ptr<State> state) : state_(std::move(state)) {}
Conversation::~Conversation() = default;

Result<std::unique_ptr<Conversation>> Conversation::make(model::Model& model, const tokenizer::Tokenizer& tokenizer,
                                                         const sampling::SamplingParams& params,
                                                         ConversationDrafts* drafts) {
  const int embeddings = model.config().vocabulary;
  if (tokenizer.vocabulary_size() > embeddings) {
    return Error{ErrorCode::kInvalidArgument,
                 format("the tokenizer has {} tokens but the model only {} embeddings: the file is inconsistent, get a "
                        "good copy",
                        tokenizer.vocabulary_size(), embeddings)};
  }
  INFER_TRY(params.validate());
  INFER_ASSIGN(auto sampler, sampling::Sampler::make(params, tokenizer.vocabulary_size(), model.options().context));
  if (drafts != nullptr) drafts->begin();
  return std::unique_ptr<Conversation>(new Conversation(std::unique_ptr<State>(
      new State{model, tokenizer, params, std::move(sampler), model.make_sequence(), drafts, {}, {}, {}})));
}

Result<GenerationResult> Conversation::generate(std::span<const TokenId> prompt, const GenerationOptions& options,
                                                const CallContext& call, const GenerationObserver& observer) {
  return state_->generate(prompt, options, call, observer);
}

int Conversation::length() const { return static_cast<int>(state_->history.size()); }

void Conversation::clear() {
  // The parameters were good when the conversation was made, so the sampler can be made again.
  INFER_CHECK(state_->restore(0, 0).has_value());
}

}  // namespace infer::engine
