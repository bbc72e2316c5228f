#include "batch/batch_runner.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "os/wake_signal.h"

namespace infer::batch {

namespace {

// How long a cancellation of the call may go unnoticed.
constexpr Duration kLook = Duration::from_ms(20);
// Pauses between attempts: the first, the factor for each further one, the longest.
constexpr double kPauseSeconds = 0.1;
constexpr double kPauseGrowth = 1.5;
constexpr double kPauseSecondsMax = 10;

class Worker {
 public:
  Worker(engine::Engine& engine, const tokenizer::Tokenizer& tokenizer, const BatchOptions& options, const Clock& clock,
         std::shared_ptr<os::WakeSignal> wake)
      : engine_(engine), tokenizer_(tokenizer), options_(options), clock_(clock), wake_(std::move(wake)) {}

  bool idle() const { return result_.task == nullptr; }
  // When it has something to do though its stream is silent.
  Instant act_at() const { return handle_ || idle() ? Instant::never() : attempt_at_; }

  void take(const Task& task) {
    result_ = {};
    result_.task = &task;
    start_ = clock_.now();
    deadline_ = Instant::never();
    if (const auto limit = task.deadline ? task.deadline : options_.task_deadline) deadline_ = start_ + *limit;
    tokens_.clear();
    pause_ = kPauseSeconds;
    begin_turn();
  }
  // Its turn ends, and no other begins.
  void cancel(CancelReason reason) {
    cancelled_ = true;
    if (handle_) (*handle_)->cancel(reason);
  }
  bool waits_for_engine() const { return handle_.has_value(); }

  // Goes on as far as it can. The result when the task has ended.
  std::optional<TaskResult> act() {
    if (!handle_ && clock_.now() >= attempt_at_ && !submit()) return end();
    if (!handle_ || !read()) return std::nullopt;
    const engine::RequestResult& turn = result_.turns.back().result;
    result_.finish_reason = turn.finish_reason;
    result_.error = turn.error;
    const bool whole =
        turn.finish_reason == engine::FinishReason::kStop || turn.finish_reason == engine::FinishReason::kLength;
    if (!whole || cancelled_ || result_.turns.size() == result_.task->turns.size()) return end();
    begin_turn();
    if (!submit()) return end();
    return std::nullopt;
  }

 private:
  void begin_turn() {
    const size_t turn = result_.turns.size();
    const std::vector<TokenId> added = tokenizer_.encode(
        result_.task->turns[turn], {.add_special = turn == 0, .parse_special = options_.parse_special});
    tokens_.insert(tokens_.end(), added.begin(), added.end());
    attempt_at_ = clock_.now();
  }

  // False when the task ends with that.
  bool submit() {
    engine::Request request{.prompt = tokens_,
                            .options = result_.task->options,
                            .sampling = result_.task->sampling,
                            .limits = {Deadline::at(deadline_)},
                            .priority = result_.task->priority,
                            .stages = options_.stages,
                            .on_ready = [wake = wake_] { wake->notify(); }};
    engine::Submitted submitted = engine_.submit(std::move(request));
    if (submitted.status) {
      handle_ = std::move(submitted.handle);
      result_.turns.emplace_back();
      return true;
    }
    ++result_.attempts_refused;
    const Instant now = clock_.now();
    const ErrorCode code = submitted.status.error().code;
    result_.error = std::move(submitted.status).error();
    const bool late = code == ErrorCode::kDeadline || now >= deadline_;
    result_.finish_reason = late ? engine::FinishReason::kDeadline : engine::FinishReason::kFailed;
    if (late || code != ErrorCode::kBusy) return false;
    attempt_at_ = std::min(deadline_, now + Duration::from_seconds(pause_));
    pause_ = std::min(kPauseSecondsMax, pause_ * kPauseGrowth);
    return true;
  }

  // True at the end of the turn.
  bool read() {
    const bool finished = (*handle_)->finished();
    TurnResult& turn = result_.turns.back();
    while (std::optional<engine::AnswerPiece> piece = (*handle_)->take()) {
      turn.text += piece->text;
      if (piece->token != kNoToken) tokens_.push_back(piece->token);
    }
    if (!finished) return false;
    turn.result = (*handle_)->result();
    handle_.reset();
    return true;
  }

  TaskResult end() {
    TaskResult ended = std::exchange(result_, {});
    const Instant now = clock_.now();
    ended.elapsed = now - start_;
    if (deadline_ != Instant::never()) ended.overshoot = now - deadline_;
    return ended;
  }

  engine::Engine& engine_;
  const tokenizer::Tokenizer& tokenizer_;
  const BatchOptions& options_;
  const Clock& clock_;
  const std::shared_ptr<os::WakeSignal> wake_;
  TaskResult result_;  // Of the task that it has; no task when idle.
  Instant start_, deadline_, attempt_at_;
  double pause_ = kPauseSeconds;  // Seconds.
  bool cancelled_ = false;
  std::vector<TokenId> tokens_;  // Of all turns and answers so far.
  std::optional<engine::RequestHandle> handle_;
};

// Ends what runs, without results.
void cancel_all(std::vector<std::unique_ptr<Worker>>& workers, CancelReason reason, os::WakeSignal& wake,
                const Clock& clock) {
  for (const auto& worker : workers) worker->cancel(reason);
  const auto waits = [](const auto& worker) { return worker->waits_for_engine(); };
  while (std::any_of(workers.begin(), workers.end(), waits)) {
    for (const auto& worker : workers) {
      if (worker->waits_for_engine()) (void)worker->act();
    }
    if (std::any_of(workers.begin(), workers.end(), waits)) wake.wait_until(clock.now() + kLook);
  }
}

}  // namespace

Status run_batch(engine::Engine& engine, const tokenizer::Tokenizer& tokenizer, std::span<const Task> tasks,
                 const BatchOptions& options, const CallContext& call, const TaskSink& sink) {
  const auto wake = std::make_shared<os::WakeSignal>();
  std::vector<std::unique_ptr<Worker>> workers;
  for (size_t i = 0; i < std::min(tasks.size(), static_cast<size_t>(options.workers)); ++i) {
    workers.push_back(std::make_unique<Worker>(engine, tokenizer, options, call.clock, wake));
  }
  size_t next = 0, ended = 0;
  Status status;
  while (status && ended < tasks.size()) {
    Instant act_at = call.clock.now() + kLook;
    for (const auto& worker : workers) {
      if (worker->idle() && next < tasks.size()) worker->take(tasks[next++]);
      if (worker->idle() || !status) continue;
      if (const std::optional<TaskResult> result = worker->act()) {
        ++ended;
        act_at = Instant();  // It can take the next one.
        status = sink(*result);
      }
      act_at = std::min(act_at, worker->act_at());
    }
    if (status) status = call.check("running the batch");
    if (status && ended < tasks.size()) wake->wait_until(std::min(act_at, call.deadline.when()));
  }
  if (!status) {
    const CancelReason reason = call.cancel.cancelled() ? call.cancel.reason() : CancelReason::kPolicy;
    cancel_all(workers, reason, *wake, call.clock);
  }
  return status;
}

}  // namespace infer::batch
