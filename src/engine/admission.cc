#include "engine/admission.h"

#include <algorithm>

#include "base/format.h"

namespace infer::engine {

Backlog backlog_of(const EngineSnapshot& snapshot, Priority priority, int on_the_way, int64_t on_the_way_tokens) {
  Backlog backlog{.waiting = on_the_way,
                  .waiting_before = on_the_way,
                  .waiting_tokens = on_the_way_tokens,
                  .tokens_before = on_the_way_tokens,
                  .running = snapshot.running,
                  .answering = snapshot.answering,
                  .cost = snapshot.cost,
                  .running_time = snapshot.running_time};
  for (size_t i = 0; i < snapshot.waiting.size(); ++i) {
    const bool before = i <= static_cast<size_t>(priority);
    backlog.waiting += snapshot.waiting[i];
    backlog.waiting_tokens += snapshot.prompt_tokens[i];
    backlog.waiting_before += before ? snapshot.waiting[i] : 0;
    backlog.tokens_before += before ? snapshot.prompt_tokens[i] : 0;
  }
  return backlog;
}

namespace {

// Prompt tokens go in steps of the target's length, beside the answers.
Duration time_of_prompts(const Backlog& backlog, const EngineLimits& limits, int64_t tokens) {
  const int step = backlog.cost.tokens_within(limits.step_target, limits.tokens_per_step);
  const int64_t chunk = std::max(step - backlog.answering, limits.chunk_min);
  const int64_t steps = (tokens + chunk - 1) / chunk;
  const double seconds = static_cast<double>(steps) *
                             (backlog.cost.fixed + backlog.cost.per_token * static_cast<double>(backlog.answering)) +
                         static_cast<double>(tokens) * backlog.cost.per_token;
  return Duration::from_seconds(seconds);
}

}  // namespace

std::optional<Duration> predict_first_token(const Backlog& backlog, const EngineLimits& limits, int64_t prompt_tokens) {
  if (!backlog.cost.known()) return std::nullopt;
  // Places become free one by one, each running_time / running_max after the one before.
  Duration place;
  const int taken = backlog.running + backlog.waiting_before;
  if (taken >= limits.running_max) {
    const int64_t turns = taken - limits.running_max + 1;
    place = Duration::from_ns(backlog.running_time.ns() / limits.running_max * turns);
  }
  const Duration prompts = time_of_prompts(backlog, limits, backlog.tokens_before);
  return std::max(place, prompts) + time_of_prompts(backlog, limits, prompt_tokens);
}

namespace {

Status check_bounds(const Backlog& backlog, const EngineLimits& limits, int64_t prompt_tokens) {
  if (backlog.waiting >= limits.waiting_max) {
    return Error{ErrorCode::kBusy,
                 format("{} requests wait already, and {} may: try again later", backlog.waiting, limits.waiting_max)};
  }
  if (backlog.waiting > 0 && backlog.waiting_tokens + prompt_tokens > limits.waiting_tokens_max) {
    return Error{
        ErrorCode::kBusy,
        format("requests with {} prompt tokens wait already, and this one has {}; {} may wait: try again later",
               backlog.waiting_tokens, prompt_tokens, limits.waiting_tokens_max)};
  }
  return {};
}

}  // namespace

Admission decide_admission(const Backlog& backlog, const EngineLimits& limits, const TimeLimits& times,
                           int64_t prompt_tokens, Instant now) {
  Admission admission{.status = {}, .predicted = predict_first_token(backlog, limits, prompt_tokens)};
  Instant end = times.total.when();
  if (times.first_token) end = std::min(end, now + *times.first_token);
  if (now >= end) {
    admission.status =
        Error{ErrorCode::kDeadline, format("the request came {:.1f} ms after its deadline", (now - end).ms())};
    return admission;
  }
  admission.status = check_bounds(backlog, limits, prompt_tokens);
  if (!admission.status || !admission.predicted || end == Instant::never() || now + *admission.predicted <= end) {
    return admission;
  }
  const bool alone = backlog.waiting_before + backlog.running == 0;
  const double prompt_speed = 1 / (backlog.cost.per_token + backlog.cost.fixed / limits.tokens_per_step);
  admission.status =
      Error{alone ? ErrorCode::kDeadline : ErrorCode::kBusy,
            format("the first token would come after about {:.1f} s, but {:.1f} s are left ({} prompt tokens at about "
                   "{:.0f} tokens/s, after {} requests with {}): {}",
                   admission.predicted->seconds(), (end - now).seconds(), prompt_tokens, prompt_speed,
                   backlog.waiting_before + backlog.running, backlog.tokens_before,
                   alone ? "allow more time or shorten the prompt" : "try again later or allow more time")};
  return admission;
}

}  // namespace infer::engine
