// What the engine's thread does while no request is there, in portions of one step: measurements of the model itself.
//
// A portion is given up between two layers as soon as a request comes, so that none waits for it. What it keeps in the
// KV cache stays there while requests do not need the room; when they do, it is told to give its pages back.
// Thread safety: the engine's thread calls all of it; what others say to an implementation is that one's to arrange.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "base/time.h"
#include "engine/answer_sample.h"
#include "engine/step_runner.h"
#include "model/step_batch.h"

namespace infer::engine {

class IdleWork {
 public:
  virtual ~IdleWork() = default;

  // One portion: at most one step, with `watch` to say when it must stop. Returns when to ask again: a time that has
  // passed means at once, never() when somebody wakes the engine (Engine::wake). `runner` stays the same.
  virtual Instant run(StepRunner& runner, model::StepWatch& watch, const Clock& clock) = 0;
  // Somebody has asked for it and waits: it begins right behind a request, not after a pause.
  virtual bool is_wanted() const = 0;
  // Pages that the next portion takes at most, on top of those held.
  virtual int64_t pages_wanted(StepRunner& runner) const = 0;
  virtual int64_t pages_held() const = 0;
  virtual void release_pages() = 0;

  // How many rows of logits the sample of a request that starts now shall have; nullopt: no sample.
  virtual std::optional<size_t> sample_rows(int vocabulary) = 0;
  // Of an answer that has ended, computed at the same levels from its start to its end.
  virtual void take_sample(AnswerSample sample) = 0;
  // What pages do has changed: samples of before say nothing of now.
  virtual void levels_changed() = 0;
};

}  // namespace infer::engine
