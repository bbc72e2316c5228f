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

// A queue gets on unevenly: those before a request may take so many times as long as on the average.
constexpr double kUneven = 1.25;
// Tokens of an answer that the context ends.
constexpr int64_t kUnlimited = int64_t{1} << 24;

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

// Places become free one by one, each running_time / running_max after the one before.
Duration time_to_place(const Backlog& backlog, const EngineLimits& limits) {
  const int64_t turns = backlog.running + backlog.waiting_before - limits.running_max + 1;
  return turns > 0 ? Duration::from_ns(backlog.running_time.ns() / limits.running_max * turns) : Duration();
}

// What comes before a request: places that are taken, and prompts.
Duration time_before(const Backlog& backlog, const EngineLimits& limits) {
  return std::max(time_to_place(backlog, limits), time_of_prompts(backlog, limits, backlog.tokens_before));
}

}  // namespace

Demand demand_of(const Request& request, int64_t cached_tokens) {
  const int most = request.options.tokens_max;
  return {.prompt_tokens = static_cast<int64_t>(request.prompt.size()) - cached_tokens,
          .tokens_max = request.pooling ? 0
                        : most < 0      ? kUnlimited
                                        : most,
          .takes_what_comes = !request.stages.empty()};
}

std::optional<Duration> predict_first_token(const Backlog& backlog, const EngineLimits& limits, int64_t prompt_tokens) {
  if (!backlog.cost.known()) return std::nullopt;
  return time_before(backlog, limits) + time_of_prompts(backlog, limits, prompt_tokens);
}

std::optional<Duration> predict_end(const Backlog& backlog, const EngineLimits& limits, const Demand& demand) {
  const Duration place = time_to_place(backlog, limits);
  if (!backlog.cost.known() || place == Duration()) return std::nullopt;
  const double step = backlog.cost.time(limits.running_max).seconds();
  const Duration own = time_of_prompts(backlog, limits, demand.prompt_tokens) +
                       Duration::from_seconds(step * static_cast<double>(demand.tokens_max));
  const auto before = static_cast<double>(time_before(backlog, limits).ns());
  return Duration::from_ns(static_cast<int64_t>(kUneven * before)) + std::min(own, backlog.running_time);
}

Error queue_is_full(int waiting, int waiting_max) {
  return {ErrorCode::kBusy,
          format("the queue is full ({} waiting, at most {}): try again later", waiting, waiting_max)};
}

namespace {

Status check_bounds(const Backlog& backlog, const EngineLimits& limits, int64_t prompt_tokens) {
  if (backlog.waiting >= limits.waiting_max) {
    return queue_is_full(backlog.waiting, limits.waiting_max);
  }
  if (backlog.waiting > 0 && backlog.waiting_tokens + prompt_tokens > limits.waiting_tokens_max) {
    return Error{
        ErrorCode::kBusy,
        format("requests with {} prompt tokens wait already, and this one has {}; {} may wait: try again later",
               backlog.waiting_tokens, prompt_tokens, limits.waiting_tokens_max)};
  }
  return {};
}

// Others keep it waiting until its answer would be cut off.
Status check_end(const Backlog& backlog, const EngineLimits& limits, const TimeLimits& times, const Demand& demand,
                 Instant now) {
  if (times.total.when() == Instant::never() || demand.takes_what_comes) return {};
  const std::optional<Duration> end = predict_end(backlog, limits, demand);
  if (!end || now + *end <= times.total.when()) return {};
  return Error{ErrorCode::kBusy,
               format("the answer would end after up to {:.1f} s, but {:.1f} s are left ({} requests run and {} wait "
                      "before it; one takes {:.1f} s): try again later or allow more time",
                      end->seconds(), (times.total.when() - now).seconds(), backlog.running, backlog.waiting_before,
                      backlog.running_time.seconds())};
}

}  // namespace

Admission decide_admission(const Backlog& backlog, const EngineLimits& limits, const TimeLimits& times,
                           const Demand& demand, Instant now) {
  const int64_t prompt_tokens = demand.prompt_tokens;
  Admission admission{.status = {}, .predicted = predict_first_token(backlog, limits, prompt_tokens)};
  Instant end = times.total.when();
  if (times.first_token) end = std::min(end, now + *times.first_token);
  if (now >= end) {
    admission.status =
        Error{ErrorCode::kDeadline, format("the request came {:.1f} ms after its deadline", (now - end).ms())};
    return admission;
  }
  admission.status = check_bounds(backlog, limits, prompt_tokens);
  if (!admission.status || !admission.predicted || end == Instant::never()) return admission;
  if (now + *admission.predicted <= end) {
    admission.status = check_end(backlog, limits, times, demand, now);
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
