#include "engine/engine.h"

#include <atomic>
#include <utility>

#include "base/bounded_queue.h"
#include "base/format.h"
#include "engine/step_loop.h"
#include "os/service_thread.h"
#include "os/wake_signal.h"

namespace infer::engine {

namespace {

// What ended last may still be on its way to the disk at the end.
constexpr Duration kSavingMax = Duration::from_seconds(3);

}  // namespace

struct Engine::State {
  std::unique_ptr<StepRunner> runner;
  const Clock& clock;
  CancelSource stop;
  // Streams may outlive the engine and notify it.
  std::shared_ptr<os::WakeSignal> wake = std::make_shared<os::WakeSignal>();
  std::unique_ptr<kv::PrefixStore> store;
  BoundedQueue<Submission> inbox;
  StepLoop loop;
  Watchdog watchdog;
  std::atomic<bool> watching{true};
  os::WakeSignal watch;
  Intake intake;
  std::unique_ptr<os::ServiceThread> watchdog_thread;
  std::unique_ptr<os::ServiceThread> thread;

  State(std::unique_ptr<StepRunner> given_runner, const tokenizer::Tokenizer& tokenizer, const EngineLimits& limits,
        const Clock& given_clock, EngineParts parts)
      : runner(std::move(given_runner)),
        clock(given_clock),
        store(std::move(parts.store)),
        inbox(static_cast<size_t>(limits.waiting_max)),
        loop(*runner, tokenizer, limits, clock, inbox, stop.token(), parts.idle, store.get(), std::move(parts.draft)),
        watchdog(loop.heartbeat(), limits.watchdog, std::move(parts.on_lost)),
        intake(loop, watchdog, inbox, wake, runner->context(), tokenizer.vocabulary_size()) {
    if (store) store->set_on_done([signal = wake] { signal->notify(); });
  }

  void serve() {
    while (!stop.token().cancelled()) {
      const StepLoop::Turn turn = loop.turn();
      if (!turn.computed) wake->wait_until(turn.look_at);
    }
    loop.end_all(CancelReason::kShutdown);
    loop.finish_saving({clock, Deadline::at(clock.now() + kSavingMax), CancelToken()});
  }

  void stand_guard() {
    while (watching.load()) watch.wait_until(watchdog.check(clock.now()));
  }
};

Engine::Engine(std::unique_ptr<State> state) : state_(std::move(state)) {}

Engine::~Engine() {
  state_->inbox.close();  // First: what is pushed before is ended by the thread, nothing is after.
  state_->stop.cancel(CancelReason::kShutdown);
  state_->wake->notify();
  state_->thread.reset();
  state_->watching.store(false);  // Last, so that requests end also when the thread does not.
  state_->watch.notify();
  state_->watchdog_thread.reset();
}

Result<std::unique_ptr<Engine>> Engine::start(std::unique_ptr<StepRunner> runner, const tokenizer::Tokenizer& tokenizer,
                                              const EngineLimits& limits, const Clock& clock, EngineParts parts) {
  INFER_TRY(limits.validate());
  if (tokenizer.vocabulary_size() > runner->vocabulary()) {
    return Error{ErrorCode::kInvalidArgument,
                 format("the tokenizer has {} tokens but the model only {} embeddings: the file is inconsistent, get a "
                        "good copy",
                        tokenizer.vocabulary_size(), runner->vocabulary())};
  }
  auto engine = std::unique_ptr<Engine>(
      new Engine(std::make_unique<State>(std::move(runner), tokenizer, limits, clock, std::move(parts))));
  State* const state = engine->state_.get();
  INFER_ASSIGN(state->watchdog_thread, os::ServiceThread::start([state] { state->stand_guard(); }));
  INFER_ASSIGN(state->thread, os::ServiceThread::start([state] { state->serve(); }));
  return engine;
}

Submitted Engine::submit(Request request) {
  Submitted submitted = state_->intake.submit(std::move(request), state_->clock.now());
  if (submitted.status) state_->watch.notify();
  return submitted;
}

void Engine::change_levels(const kv::LevelPolicy& levels, const std::optional<kv::LevelPolicy>& other) {
  state_->loop.change_levels(levels, other);
  state_->wake->notify();
}

void Engine::wake() { state_->wake->notify(); }

EngineSnapshot Engine::snapshot() const {
  EngineSnapshot seen = state_->loop.published();
  seen.health = health();
  return seen;
}

void Engine::set_speculation(bool enabled, float min_accept_rate) {
  state_->loop.set_speculation(enabled, min_accept_rate);
}

void Engine::set_running_max(int running_max) { state_->loop.set_running_max(running_max); }

void Engine::set_on_step(std::function<void(Instant now)> on_step) { state_->loop.set_on_step(std::move(on_step)); }

EngineHealth Engine::health() const { return state_->watchdog.health(state_->clock.now()); }
const EngineLimits& Engine::limits() const { return state_->loop.limits(); }

}  // namespace infer::engine
