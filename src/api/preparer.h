// A thread that turns the bodies of calls into requests to the engine: reads JSON, renders chat templates, encodes
// text, compiles grammars; what may take longer than the server's threads have.
//
// Thread safety: take() from any thread. Ownership: borrows model and engine; calls that it is given are shared.
// Destroying it drops what it has not begun.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>

#include "api/call.h"
#include "api/served_model.h"
#include "base/bounded_queue.h"
#include "base/result.h"
#include "engine/engine.h"
#include "os/service_thread.h"
#include "os/wake_signal.h"

namespace infer::api {

class Preparer {
 public:
  // `on_prepared` is called after each call, on this thread; `on_piece` becomes the wake-up of all engine requests, on
  // the engine's. Both must return at once, and `on_piece` may be called when everything here is gone.
  static Result<std::unique_ptr<Preparer>> start(const ServedModel& model, engine::Engine& engine, size_t calls_max,
                                                 std::function<void()> on_prepared, std::function<void()> on_piece);
  ~Preparer();
  Preparer(const Preparer&) = delete;
  Preparer& operator=(const Preparer&) = delete;

  // False when too much waits.
  bool take(std::shared_ptr<Call> call) {
    const bool taken = queue_.try_push(std::move(call));
    if (taken) wake_.notify();
    return taken;
  }

 private:
  Preparer(const ServedModel& model, engine::Engine& engine, size_t calls_max, std::function<void()> on_prepared,
           std::function<void()> on_piece)
      : model_(model),
        engine_(engine),
        on_prepared_(std::move(on_prepared)),
        on_piece_(std::move(on_piece)),
        queue_(calls_max) {}

  void serve();
  void prepare(Call& call);
  std::optional<ApiError> try_prepare(Call& call);
  std::optional<ApiError> hand_in(Call& call, PreparedAnswer prepared, const engine::TimeLimits& limits,
                                  engine::Priority priority, bool staged);

  const ServedModel& model_;
  engine::Engine& engine_;
  const std::function<void()> on_prepared_;
  const std::function<void()> on_piece_;
  BoundedQueue<std::shared_ptr<Call>> queue_;
  os::WakeSignal wake_;
  std::atomic<bool> stops_{false};
  std::unique_ptr<os::ServiceThread> thread_;
};

}  // namespace infer::api
