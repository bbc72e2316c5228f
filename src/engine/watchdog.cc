#include "engine/watchdog.h"

#include <utility>

#include "base/format.h"

namespace infer::engine {

Status WatchdogLimits::validate() const {
  if (silent_after.ns() > 0 && silent_after < hung_after && hung_after < lost_after) return {};
  return Error{ErrorCode::kInvalidArgument,
               format("the engine's thread counts as silent after {:.0f} ms, as hung after {:.0f} and as lost after "
                      "{:.0f}: give times above zero, each longer than the one before",
                      silent_after.ms(), hung_after.ms(), lost_after.ms())};
}

const char* engine_condition_name(EngineCondition condition) {
  switch (condition) {
    case EngineCondition::kReady: return "ready";
    case EngineCondition::kSilent: return "silent";
    case EngineCondition::kHung: return "hung";
    case EngineCondition::kLost: return "lost";
  }
  return "unknown";
}

Watchdog::Watchdog(const Heartbeat& heartbeat, const WatchdogLimits& limits, std::function<void()> on_lost)
    : heartbeat_(heartbeat), limits_(limits), on_lost_(std::move(on_lost)) {}

void Watchdog::watch(std::shared_ptr<AnswerStream> stream) {
  const std::lock_guard lock(mutex_);
  streams_.push_back(std::move(stream));
}

EngineCondition Watchdog::condition(Duration silence) const {
  if (silence < limits_.silent_after) return EngineCondition::kReady;
  if (silence < limits_.hung_after) return EngineCondition::kSilent;
  return silence < limits_.lost_after ? EngineCondition::kHung : EngineCondition::kLost;
}

EngineHealth Watchdog::health(Instant now) const {
  const Duration silence = heartbeat_.silence(now);
  return {.condition = condition(silence),
          .silence = silence,
          .hangs = hangs_.load(),
          .requests_ended = requests_ended_.load()};
}

std::vector<std::shared_ptr<AnswerStream>> Watchdog::open_streams() {
  const std::lock_guard lock(mutex_);
  std::erase_if(streams_, [](const auto& stream) { return stream->finished(); });
  return streams_;
}

Instant Watchdog::check(Instant now) {
  const Duration silence = heartbeat_.silence(now);
  const EngineCondition found = condition(silence);
  hung_ = hung_ && found >= EngineCondition::kHung;
  lost_ = lost_ && found == EngineCondition::kLost;
  if (found >= EngineCondition::kSilent) end_late(now);
  if (found >= EngineCondition::kHung) {
    if (!std::exchange(hung_, true)) hangs_.fetch_add(1);
    end_all(silence, now);
  }
  if (found == EngineCondition::kLost && !std::exchange(lost_, true) && on_lost_) on_lost_();
  const bool nothing = open_streams().empty() && !heartbeat_.silent_since();
  return nothing ? Instant::never() : now + limits_.period();
}

void Watchdog::end(AnswerStream& stream, RequestResult result, Instant now) {
  result.submitted = stream.facts().submitted;
  result.prompt_tokens = stream.facts().prompt_tokens;
  result.generated_tokens = stream.pushed_tokens();
  result.ended = now;
  if (stream.finish(std::move(result))) requests_ended_.fetch_add(1);
}

// The engine's thread would do this between two layers.
void Watchdog::end_late(Instant now) {
  for (const auto& stream : open_streams()) {
    const CancelToken cancel = stream->cancel_token();
    if (cancel.cancelled()) {
      end(*stream, {.finish_reason = FinishReason::kCancelled, .cancel_reason = cancel.reason()}, now);
    } else if (stream->facts().total.passed(now)) {
      end(*stream, {.finish_reason = FinishReason::kDeadline, .passed_limit = PassedLimit::kTotal}, now);
    } else if (now >= stream->facts().first_token_by && stream->pushed_tokens() == 0) {
      end(*stream, {.finish_reason = FinishReason::kDeadline, .passed_limit = PassedLimit::kFirstToken}, now);
    }
  }
}

void Watchdog::end_all(Duration silence, Instant now) {
  for (const auto& stream : open_streams()) {
    Error error{ErrorCode::kInternal,
                format("the engine has not got on for {:.1f} s: its step was given up; try again, and start the server "
                       "again if this stays",
                       silence.seconds())};
    end(*stream, {.finish_reason = FinishReason::kFailed, .error = std::move(error)}, now);
  }
}

}  // namespace infer::engine
