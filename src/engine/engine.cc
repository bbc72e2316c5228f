#include "engine/engine.h"

#include <utility>

#include "base/bounded_queue.h"
#include "base/format.h"
#include "engine/step_loop.h"
#include "os/service_thread.h"
#include "os/wake_signal.h"

namespace infer::engine {

struct Engine::State {
  std::unique_ptr<StepRunner> runner;
  const Clock& clock;
  CancelSource stop;
  // Streams may outlive the engine and notify it.
  std::shared_ptr<os::WakeSignal> wake = std::make_shared<os::WakeSignal>();
  BoundedQueue<Submission> inbox;
  StepLoop loop;
  Intake intake;
  std::unique_ptr<os::ServiceThread> thread;

  State(std::unique_ptr<StepRunner> given_runner, const tokenizer::Tokenizer& tokenizer, const EngineLimits& limits,
        const Clock& given_clock)
      : runner(std::move(given_runner)),
        clock(given_clock),
        inbox(static_cast<size_t>(limits.waiting_max)),
        loop(*runner, tokenizer, limits, clock, inbox, stop.token()),
        intake(loop, inbox, wake, runner->context(), tokenizer.vocabulary_size()) {}

  void serve() {
    while (!stop.token().cancelled()) {
      const StepLoop::Turn turn = loop.turn();
      if (!turn.computed) wake->wait_until(turn.look_at);
    }
    loop.end_all(CancelReason::kShutdown);
  }
};

Engine::Engine(std::unique_ptr<State> state) : state_(std::move(state)) {}

Engine::~Engine() {
  if (!state_->thread) return;
  state_->inbox.close();  // First: what is pushed before is ended by the thread, nothing is after.
  state_->stop.cancel(CancelReason::kShutdown);
  state_->wake->notify();
  state_->thread.reset();
}

Result<std::unique_ptr<Engine>> Engine::start(std::unique_ptr<StepRunner> runner, const tokenizer::Tokenizer& tokenizer,
                                              const EngineLimits& limits, const Clock& clock) {
  INFER_TRY(limits.validate());
  if (tokenizer.vocabulary_size() > runner->vocabulary()) {
    return Error{ErrorCode::kInvalidArgument,
                 format("the tokenizer has {} tokens but the model only {} embeddings: the file is inconsistent, get a "
                        "good copy",
                        tokenizer.vocabulary_size(), runner->vocabulary())};
  }
  auto engine =
      std::unique_ptr<Engine>(new Engine(std::make_unique<State>(std::move(runner), tokenizer, limits, clock)));
  INFER_ASSIGN(engine->state_->thread, os::ServiceThread::start([state = engine->state_.get()] { state->serve(); }));
  return engine;
}

Submitted Engine::submit(Request request) { return state_->intake.submit(std::move(request), state_->clock.now()); }
void Engine::change_levels(const kv::LevelPolicy& levels) {
  state_->loop.change_levels(levels);
  state_->wake->notify();
}
EngineSnapshot Engine::snapshot() const { return state_->loop.published(); }
const EngineLimits& Engine::limits() const { return state_->loop.limits(); }

}  // namespace infer::engine
