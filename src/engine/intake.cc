#include "engine/intake.h"

#include <utility>

#include "base/format.h"

namespace infer::engine {

Backlog Intake::backlog(Priority priority) const {
  // Counted in this order, what is taken in between is on neither side.
  const uint64_t requests = requests_.load(), tokens = requests_tokens_.load();
  const EngineSnapshot seen = loop_.published();
  const auto rest = [](uint64_t given, uint64_t taken) { return given > taken ? given - taken : 0; };
  return backlog_of(seen, priority, static_cast<int>(rest(requests, seen.counters.requests)),
                    static_cast<int64_t>(rest(tokens, seen.counters.requests_tokens)));
}

Submitted Intake::submit(Request request, Instant now) {
  if (Status checked = check_request(request, context_, vocabulary_); !checked) {
    return {std::move(checked), std::nullopt, std::nullopt};
  }
  if (const EngineHealth health = watchdog_.health(now); !health.ready()) {
    return {Error{ErrorCode::kBusy, format("the engine has not got on for {:.1f} s: try again later, and start the "
                                           "server again if this stays",
                                           health.silence.seconds())},
            std::nullopt, std::nullopt};
  }
  const size_t tokens = request.prompt.size();
  const int known = request.pooling ? 0 : loop_.hinted_pages(std::span(request.prompt).first(tokens - 1));
  const int cached = known * kv::kPageTokens;
  Admission admission =
      decide_admission(backlog(request.priority), loop_.limits(), request.limits, demand_of(request, cached), now);
  if (!admission.status) return {std::move(admission.status), std::nullopt, admission.predicted};

  std::vector<std::shared_ptr<AnswerStream>> streams = make_streams(request, now);
  const size_t answers = streams.size();
  requests_.fetch_add(answers);
  requests_tokens_.fetch_add(tokens);
  if (!inbox_.try_push(Submission{std::move(request), streams, now})) {
    requests_.fetch_sub(answers);
    requests_tokens_.fetch_sub(tokens);
    const auto places = static_cast<int>(inbox_.capacity());  // Taken meanwhile by a request of another thread.
    Error error = queue_is_full(places, places);
    if (inbox_.closed()) error = {ErrorCode::kCancelled, "the engine is shutting down"};
    return {std::move(error), std::nullopt, admission.predicted};
  }
  for (const auto& stream : streams) watchdog_.watch(stream);
  loop_.heartbeat().call(now);
  wake_->notify();
  Submitted submitted{{}, RequestHandle(std::move(streams.front())), admission.predicted};
  for (size_t i = 1; i < answers; ++i) submitted.others.emplace_back(std::move(streams[i]));
  return submitted;
}

std::vector<std::shared_ptr<AnswerStream>> Intake::make_streams(const Request& request, Instant now) const {
  RequestFacts facts{
      .submitted = now, .total = request.limits.total, .prompt_tokens = static_cast<int>(request.prompt.size())};
  if (request.limits.first_token) facts.first_token_by = now + *request.limits.first_token;
  const auto cancel = std::make_shared<CancelSource>();
  std::vector<std::shared_ptr<AnswerStream>> streams;
  for (int i = 0; i < request.answers; ++i) {
    streams.push_back(std::make_shared<AnswerStream>(loop_.limits().stream_tokens, wake_, request.on_ready, facts,
                                                     cancel, request.wants_whole));
  }
  return streams;
}

}  // namespace infer::engine
