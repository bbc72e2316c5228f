// Serves many requests at once with one model: takes them in from any thread, computes them on a thread of its own.
//
//   INFER_ASSIGN(auto engine, Engine::start(make_model_runner(model), tokenizer, limits, clock));
//   Submitted submitted = engine->submit(std::move(request));
//   INFER_TRY(submitted.status);
//   Answer answer = read_answer(**submitted.handle, call);
//
// The engine's thread alone touches the model and the KV cache, from start() to destruction. submit() and
// AnswerStream::cancel() take a short lock at most and never wait for a step. A second thread watches the first
// (watchdog.h) and sleeps while there are no requests.
// Ownership: borrows tokenizer, clock and what the runner borrows; destroying it ends all requests (shutdown), whose
// streams stay readable. It waits for the step that runs to stop: for ever, when the thread is lost. Thread safety:
// all but destruction from any thread; one owner.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "base/result.h"
#include "base/time.h"
#include "engine/engine_limits.h"
#include "engine/engine_snapshot.h"
#include "engine/idle_work.h"
#include "engine/intake.h"
#include "engine/request.h"
#include "engine/step_runner.h"
#include "engine/watchdog.h"
#include "kv/prefix_store.h"
#include "tokenizer/tokenizer.h"

namespace infer::engine {

// What an engine can do without. All may be empty.
struct EngineParts {
  // Called once each time that the engine's thread is lost, on the watchdog's thread: nothing but a new process helps
  // then.
  std::function<void()> on_lost{};
  // What the thread does while there are no requests; borrowed; it holds no pages any more when the engine is
  // destroyed.
  IdleWork* idle = nullptr;
  std::unique_ptr<kv::PrefixStore> store{};  // Where prefixes are kept beyond memory.
  // Of a small model that drafts answers, with the same vocabulary (draft_model.h).
  std::unique_ptr<StepRunner> draft{};
};

class Engine {
 public:
  // kInvalidArgument: limits that make no sense, or a tokenizer with more tokens than the runner has logits.
  // kExhausted: no thread.
  static Result<std::unique_ptr<Engine>> start(std::unique_ptr<StepRunner> runner,
                                               const tokenizer::Tokenizer& tokenizer, const EngineLimits& limits,
                                               const Clock& clock, EngineParts parts = {});
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  Submitted submit(Request request);
  // What the KV cache does with its pages, for running requests too, from the next step on.
  // other: half of the requests that start from then on, drawn by lot, get these instead (RequestResult::arm), until
  // the next change.
  void change_levels(const kv::LevelPolicy& levels, const std::optional<kv::LevelPolicy>& other = {});
  // As of the last step, but for its health, which is that of now.
  EngineSnapshot snapshot() const;
  // There is idle work to do.
  void wake();
  // The truth, whatever the engine's thread does.
  EngineHealth health() const;
  // Speculation from the next step on; answers are the same. 0 <= min_accept_rate <= 1.
  void set_speculation(bool enabled, float min_accept_rate);
  // Requests that are computed at the same time, from the next step on: at least 1, at most the limit. Those that run
  // go on.
  void set_running_max(int running_max);
  // Called by the engine's thread between the layers of its steps and after each, with the time, for who looks at the
  // engine often and would not wake a thread for it: it must take microseconds and wait for nothing. None of the one
  // before is called any more when this returns; empty: nobody.
  void set_on_step(std::function<void(Instant now)> on_step);
  bool is_ready() const { return health().ready(); }
  // As they are in effect.
  const EngineLimits& limits() const;

 private:
  struct State;
  explicit Engine(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace infer::engine
