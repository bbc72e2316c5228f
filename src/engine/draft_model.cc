#include "engine/draft_model.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/format.h"

namespace infer::engine {

namespace {

constexpr int kSpareTokensMax = 128;  // That vocabularies of one kind differ by.
constexpr size_t kLookbackMin = 64;   // Less of a longer text is not worth reading.
constexpr int kFirstPortion = 16;     // While nothing was measured.
constexpr int kPassesMeasured = 3;    // Of one token, at the very first.
constexpr int kPortion = 128;         // What the price of reading is told from.

bool is_stop(const Error& error) { return error.code == ErrorCode::kDeadline || error.code == ErrorCode::kCancelled; }

}  // namespace

Status check_draft_vocabulary(const tokenizer::Tokenizer& target, const tokenizer::Tokenizer& draft) {
  const int sizes[] = {target.vocabulary_size(), draft.vocabulary_size()};
  const int shared = std::min(sizes[0], sizes[1]);
  if (std::max(sizes[0], sizes[1]) - shared > kSpareTokensMax) {
    return Error{ErrorCode::kInvalidArgument,
                 format("the draft model has a vocabulary of {} tokens, the model one of {}: only models of one family "
                        "can draft for each other; choose a draft model with the same vocabulary",
                        sizes[1], sizes[0])};
  }
  int different = 0;
  TokenId first = kNoToken;
  for (TokenId token = 0; token < shared; ++token) {
    const bool same = target.token_text(token) == draft.token_text(token) &&
                      target.ends_generation(token) == draft.ends_generation(token);
    if (same) continue;
    if (different++ == 0) first = token;
  }
  if (different == 0) return {};
  return Error{
      ErrorCode::kInvalidArgument,
      format("the draft model means other texts by its tokens than the model: {} of {} differ, the first is {}, "
             "\"{}\" there and \"{}\" here; choose a draft model with the same vocabulary",
             different, shared, first, draft.token_text(first), target.token_text(first))};
}

size_t DraftSequence::agreed(std::span<const TokenId> text) const {
  size_t agreed = 0;
  while (agreed < guesses_.size() && known_ + agreed < text.size() && text[known_ + agreed] == guesses_[agreed]) {
    ++agreed;
  }
  return known_ + agreed;
}

DraftModel::DraftModel(std::unique_ptr<StepRunner> runner, int vocabulary, const Clock& clock)
    : runner_(std::move(runner)), vocabulary_(std::min(vocabulary, runner_->vocabulary())), clock_(clock) {}

bool DraftModel::can_read(std::span<const TokenId> tokens) const {
  return std::all_of(tokens.begin(), tokens.end(), [this](TokenId token) { return token < runner_->vocabulary(); });
}

// Guesses want places as well.
bool DraftModel::has_room(size_t tokens) const {
  return tokens + RowCost::kRowsMax <= static_cast<size_t>(runner_->context());
}

std::optional<int> DraftModel::lag(const DraftSequence& sequence, std::span<const TokenId> text) const {
  if (!usable() || passes_ < kPassesMeasured) return std::nullopt;
  const size_t known = sequence.cache_ ? std::min(sequence.agreed(text), text.size() - 1) : 0;
  const size_t begin = sequence.cache_ ? sequence.begin_ : 0;
  const auto lag = static_cast<int>(text.size() - known);
  if (lag > kLagMax || !has_room(text.size() - begin) || !can_read(text.subspan(known))) return std::nullopt;
  return lag;
}

void DraftModel::settle(DraftSequence& sequence, std::span<const TokenId> text) const {
  // The last token is always computed: what follows it is wanted.
  const size_t known = std::min(sequence.agreed(text), text.size() - 1);
  sequence.cache_->truncate(static_cast<int>(known - sequence.begin_));
  sequence.known_ = known;
  sequence.guesses_.clear();
}

// The text's beginning, or where what is behind is as much as can be afforded. text.size(): not yet.
size_t DraftModel::choose_begin(const DraftSequence& sequence, std::span<const TokenId> text) const {
  const auto room = static_cast<size_t>(std::max(0, runner_->context() * 3 / 4 - RowCost::kRowsMax));
  const size_t whole = std::min(text.size(), room);
  const CostLine line = cost_.line();
  size_t count = std::min(whole, kLookbackMin);
  if (line.known()) {
    const double per_token = line.time(kPortion).seconds() / kPortion;
    const double affordable = std::max(0.0, budget_.left()) / per_token;
    count = affordable < static_cast<double>(whole) ? static_cast<size_t>(affordable) : whole;
  }
  if (sequence.cache_) {
    // What was begun is left only for much more, or where it has no room any more.
    const size_t present = text.size() - sequence.begin_;
    const bool is_worth_it = count == whole && whole >= 2 * present;
    if (has_room(present) && !is_worth_it) return sequence.begin_;
  }
  return count < std::min(whole, kLookbackMin) ? text.size() : text.size() - count;
}

Result<bool> DraftModel::read(DraftSequence& sequence, std::span<const TokenId> text, Duration time,
                              model::StepWatch& watch) {
  if (!usable()) return false;
  const size_t begin = choose_begin(sequence, text);
  const bool begun = sequence.cache_ && begin == sequence.begin_;
  if (begin >= text.size() || (begun && lag(sequence, text))) return false;
  if (!begun) {
    sequence.release();
    sequence.cache_.emplace(runner_->make_sequence());
    sequence.begin_ = sequence.known_ = begin;
  }
  settle(sequence, text);
  const CostLine line = cost_.line();
  int portion = line.known() ? line.tokens_within(time, runner_->tokens_per_step()) : kFirstPortion;
  portion = std::clamp(portion, kFirstPortion, runner_->tokens_per_step());
  // What a pass of one token takes is measured again with each text, as nothing would be guessed if it was thought to
  // take long.
  if (passes_ < kPassesMeasured || sequence.known_ == sequence.begin_) portion = 1;
  const size_t left = text.size() - 1 - sequence.known_;
  const size_t count = std::min(left, static_cast<size_t>(portion));
  const std::span<const TokenId> tokens = text.subspan(sequence.known_, count);
  if (count == 0 || !can_read(tokens)) return false;
  slices_.assign(1, {&*sequence.cache_, tokens, static_cast<int>(count), static_cast<int>(count)});
  const Instant start = clock_.now();
  const Status status = pass(watch);
  budget_.spend((clock_.now() - start).seconds());
  if (!status) {
    if (is_stop(status.error())) return status.error();
    sequence.release();
    return false;
  }
  sequence.known_ += count;
  return true;
}

// One step of the small model. An error that is not the watch's is counted.
Status DraftModel::pass(model::StepWatch& watch) {
  int tokens = 0;
  for (const model::SequenceSlice& slice : slices_) tokens += static_cast<int>(slice.tokens.size());
  const Instant start = clock_.now();
  const Status status = runner_->run({slices_}, watch, start);
  const Duration taken = clock_.now() - start;
  counters_.time = counters_.time + taken;
  if (!status) {
    if (is_stop(status.error())) return status;
    ++failures_;
    ++counters_.failures;
    return status;
  }
  counters_.computed_tokens += static_cast<uint64_t>(tokens);
  if (passes_++ == 0) return status;  // It touches memory that the others find ready.
  cost_.observe(tokens, taken);
  pass_cost_.set_slope(cost_.line().per_token);
  pass_cost_.observe(tokens, taken);
  return status;
}

DraftModelSnapshot DraftModel::snapshot() const {
  DraftModelSnapshot seen = counters_;
  seen.usable = usable();
  seen.kv_bytes = runner_->pages().bytes();
  return seen;
}

DraftModel::Guess DraftModel::guess(int row) const {
  const std::span<const float> logits = runner_->logits(row).first(static_cast<size_t>(vocabulary_));
  const auto best = std::max_element(logits.begin(), logits.end());
  const double probability = std::exp(static_cast<double>(*best) - runner_->log_sum_exp(logits));
  return {static_cast<TokenId>(best - logits.begin()), probability};
}

void DraftModel::add_first_slices(std::span<DraftJob> jobs) {
  slices_.clear();
  working_.clear();
  int tokens = 0;
  for (DraftJob& job : jobs) {
    job.draft->clear();
    job.probabilities->clear();
    job.draft->reserve(static_cast<size_t>(job.most));  // Slices point into it.
    if (job.most <= 0) continue;
    DraftSequence& sequence = *job.sequence;
    if (!sequence.cache_) sequence.cache_.emplace(runner_->make_sequence());
    settle(sequence, job.text);
    const std::span<const TokenId> missing = job.text.subspan(sequence.known_);
    const int count = static_cast<int>(missing.size());
    if (tokens + count > runner_->tokens_per_step() || static_cast<int>(slices_.size()) >= runner_->logits_per_step()) {
      continue;
    }
    tokens += count;
    slices_.push_back({&*sequence.cache_, missing, count - 1, count});
    working_.push_back({&job});
  }
}

// Of those whose last guess was good enough and that want more.
void DraftModel::add_next_slices() {
  slices_.clear();
  size_t kept = 0;
  for (size_t i = 0; i < working_.size(); ++i) {
    DraftJob& job = *working_[i].job;
    const Guess next = guess(static_cast<int>(i));
    const double chance = working_[i].chance * job.trust->chance(next.probability);
    const double right = working_[i].right + chance;
    if (chance < job.least || right < job.share * static_cast<double>(job.draft->size() + 1)) continue;
    job.draft->push_back(next.token);
    job.probabilities->push_back(static_cast<float>(next.probability));
    if (static_cast<int>(job.draft->size()) >= job.most) continue;
    slices_.push_back({&*job.sequence->cache_, std::span<const TokenId>(job.draft->end() - 1, job.draft->end()), 0, 1});
    working_[kept++] = {&job, chance, right};
  }
  working_.resize(kept);
}

Status DraftModel::draft(std::span<DraftJob> jobs, model::StepWatch& watch) {
  add_first_slices(jobs);
  while (!slices_.empty()) {
    const Instant start = clock_.now();
    Status status = pass(watch);
    const double share = (clock_.now() - start).seconds() / static_cast<double>(slices_.size());
    for (const Working& each : working_) each.job->seconds += share;
    if (!status) {
      if (is_stop(status.error())) return status;
      for (const Working& each : working_) each.job->sequence->release();
      return {};
    }
    failures_ = 0;
    for (size_t i = 0; i < working_.size(); ++i) {
      DraftSequence& sequence = *working_[i].job->sequence;
      // In the first pass the rest of the text, later the guess before.
      if (sequence.known_ < working_[i].job->text.size()) {
        sequence.known_ = working_[i].job->text.size();
      } else {
        sequence.guesses_.push_back(slices_[i].tokens.front());
      }
    }
    add_next_slices();
  }
  return {};
}

}  // namespace infer::engine
