#include "api/answer_service.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include "api/request_extras.h"
#include "base/format.h"
#include "base/rng.h"

namespace infer::api {

namespace {

constexpr size_t kIdBytesMax = 128;

// Fit for a header, a path and a line of a log.
bool is_plain_id(std::string_view id) {
  const auto is_plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
           c == '.' || c == ':';
  };
  return !id.empty() && id.size() <= kIdBytesMax && std::all_of(id.begin(), id.end(), is_plain);
}

}  // namespace

Result<std::unique_ptr<AnswerService>> AnswerService::start(const ServedModel& model, engine::Engine& engine,
                                                            const AnswerServiceOptions& options) {
  auto service = std::unique_ptr<AnswerService>(new AnswerService(model, options.seed));
  INFER_ASSIGN(service->deliverer_, Deliverer::start(model.clock, options.calls_max));
  const std::function<void()> wake = service->deliverer_->waker();
  const std::function<void()> wake_for_piece = service->deliverer_->piece_waker();
  for (int i = 0; i < options.preparers; ++i) {
    INFER_ASSIGN(auto preparer, Preparer::start(model, engine, options.calls_max, wake, wake_for_piece));
    service->preparers_.push_back(std::move(preparer));
  }
  return service;
}

void AnswerService::answer(http::Request request, const http::ResponseSink& sink, const PrepareAnswer& prepare) {
  const uint64_t number = calls_.fetch_add(1);
  Rng rng(seed_ + number);
  const std::string_view given = request.headers.find("X-Request-Id").value_or("");
  const std::string id = is_plain_id(given) ? std::string(given) : format("req_{:016x}{:016x}", rng.next(), rng.next());
  const Instant deadline =
      header_deadline(request.headers, request.arrived).value_or(request.arrived + model_.defaults.deadline);

  auto call = std::make_shared<Call>(std::move(request), sink);
  call->prepare = prepare;
  call->id = id;
  call->recorder = model_.recorder;
  call->log_content = model_.log_content ? &model_.log_content : nullptr;
  call->created = model_.clock.wall_time().unix_ms / 1000;
  call->seed = rng.next() >> 11;  // 53 bits: what JavaScript holds exactly, so that it can be sent back.
  call->deadline_ns = deadline.ns();
  sink.on_disconnect([weak = std::weak_ptr<Call>(call), wake = deliverer_->waker()](CancelReason reason) {
    if (const std::shared_ptr<Call> gone = weak.lock()) gone->cancel.cancel(reason);
    wake();
  });
  sink.on_writable(deliverer_->waker());
  const auto refuse = [this, &sink, &id] {
    if (model_.recorder) model_.recorder->record_rejection(telemetry::Rejection::kQueueFull);
    http::Response response = error_response(overloaded("too many requests are under way", std::nullopt));
    response.headers.set("X-Request-Id", id);
    sink.reply(std::move(response));
  };
  if (!deliverer_->take(call)) return refuse();
  if (preparers_[number % preparers_.size()]->take(call)) return;
  call->error = overloaded("too many requests wait to be read", std::nullopt);
  call->prepared.store(true, std::memory_order_release);
  deliverer_->waker()();
}

void AnswerService::cancel(const std::string& id, const http::ResponseSink& sink) {
  if (deliverer_->cancel(id, sink)) return;
  sink.reply(error_response(overloaded("too much is to be done", std::nullopt)));
}

}  // namespace infer::api
