// Runs tasks with many workers on one engine: each worker takes the next task, goes through its turns, and hands its
// result over. A worker is a state, not a thread: all are driven by the calling thread, as their streams have
// something.
//
// A task's deadline counts from its start and really ends it: in the queue, in a prompt, in an answer, between
// attempts. What the engine is too busy for is tried again with growing pauses, within that time. Stopping the call
// cancels what runs; tasks that did not end by themselves have no result then. Thread safety: one thread. Ownership:
// borrows the engine and the tokenizer.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/call_context.h"
#include "base/result.h"
#include "base/time.h"
#include "batch/task.h"
#include "engine/engine.h"
#include "tokenizer/tokenizer.h"

namespace infer::batch {

struct TurnResult {
  std::string text;
  engine::RequestResult result;
};

struct TaskResult {
  const Task* task = nullptr;
  std::vector<TurnResult> turns;  // As far as the task came; the last may be incomplete.
  engine::FinishReason finish_reason = engine::FinishReason::kFailed;  // Of the last turn.
  std::optional<Error> error;  // With kFailed, or why the engine refused the task until its deadline.
  Duration elapsed;
  std::optional<Duration> overshoot;  // Past its deadline; negative before. Of tasks with a deadline.
  int attempts_refused = 0;
};

struct BatchOptions {
  int workers = 100;
  std::optional<Duration> task_deadline{};  // Of tasks that name none.
  std::vector<engine::Stage> stages{};      // Of each turn; empty: none.
  bool parse_special = false;
};

// Called as each task ends, in that order; an error stops the batch. May not be empty.
using TaskSink = std::function<Status(const TaskResult&)>;

// Ok when each task has ended and been handed over; kDeadline, kCancelled of the call.
Status run_batch(engine::Engine& engine, const tokenizer::Tokenizer& tokenizer, std::span<const Task> tasks,
                 const BatchOptions& options, const CallContext& call, const TaskSink& sink);

}  // namespace infer::batch
