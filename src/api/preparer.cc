#include "api/preparer.h"

#include <utility>
#include <vector>

#include "api/request_extras.h"
#include "base/format.h"
#include "engine/stages.h"

namespace infer::api {

namespace {

ApiError stopped_early(const Call& call, Instant now) {
  if (call.deadline().passed(now)) return deadline_passed("the deadline passed before the request could be computed");
  return overloaded("the request was cancelled before it began", std::nullopt);
}

}  // namespace

Result<std::unique_ptr<Preparer>> Preparer::start(const ServedModel& model, engine::Engine& engine, size_t calls_max,
                                                  std::function<void()> on_prepared, std::function<void()> on_piece) {
  auto preparer =
      std::unique_ptr<Preparer>(new Preparer(model, engine, calls_max, std::move(on_prepared), std::move(on_piece)));
  INFER_ASSIGN(preparer->thread_,
               os::ServiceThread::start([self = preparer.get()] { self->serve(); }, os::Turns::kShort));
  return preparer;
}

Preparer::~Preparer() {
  queue_.close();
  stops_ = true;
  wake_.notify();
  thread_.reset();
}

void Preparer::serve() {
  std::vector<std::shared_ptr<Call>> calls;
  while (!stops_) {
    calls.clear();
    queue_.take_all(calls);
    for (const std::shared_ptr<Call>& call : calls) {
      if (stops_) return;
      prepare(*call);
    }
    if (calls.empty()) wake_.wait_until(Instant::never());
  }
}

void Preparer::prepare(Call& call) {
  call.error = try_prepare(call);
  if (call.error) call.choices.clear();
  call.request.body = std::string();
  call.prepared.store(true, std::memory_order_release);
  on_prepared_();
}

std::optional<ApiError> Preparer::try_prepare(Call& call) {
  const CallContext waited{model_.clock, call.deadline(), call.cancel.token()};
  if (waited.should_stop()) return stopped_early(call, model_.clock.now());
  if (call.log_content != nullptr) (*call.log_content)(call.id, "asked", call.request.body);
  const Result<Json> body = Json::parse(call.request.body);
  if (!body) return ApiError{.message = "The body is not JSON: " + body.error().message, .code = "invalid_json"};
  if (!body->is_object()) return ApiError{.message = "The body must be a JSON object.", .code = "invalid_type"};

  std::optional<ApiError> error;
  const RequestExtras extras = read_extras(*body, call.request.headers, call.request.arrived, model_.defaults, error);
  if (error) return error;
  call.deadline_ns.store(extras.limits.total.when().ns(), std::memory_order_relaxed);
  const CallInput input{.model = model_,
                        .id = call.id,
                        .created = call.created,
                        .arrived = call.request.arrived,
                        .seed = call.seed,
                        .call = {model_.clock, extras.limits.total, call.cancel.token()}};
  Preparation made = call.prepare(*body, input);
  if (auto* failed = std::get_if<ApiError>(&made)) return std::move(*failed);
  if (input.call.should_stop()) return stopped_early(call, model_.clock.now());
  return hand_in(call, std::get<PreparedAnswer>(std::move(made)), extras.limits, extras.priority, extras.staged);
}

std::optional<ApiError> Preparer::hand_in(Call& call, PreparedAnswer prepared, const engine::TimeLimits& limits,
                                          engine::Priority priority, bool staged) {
  for (engine::Request& request : prepared.requests) {
    request.limits = limits;
    request.priority = priority;
    if (staged) request.stages = engine::standard_stages();
    request.on_ready = on_piece_;
    request.wants_whole = !prepared.is_stream;
    engine::Submitted submitted = engine_.submit(std::move(request));
    if (!submitted.status) {
      ApiError error = api_error_of(submitted.status.error());
      // What is too much now may be possible later; where nothing was measured, nothing is promised.
      if (submitted.status.error().code == ErrorCode::kBusy) {
        error = overloaded(std::move(error.message), submitted.predicted_first);
      }
      return error;
    }
    call.choices.push_back({*std::move(submitted.handle)});
    for (engine::RequestHandle& other : submitted.others) call.choices.push_back({std::move(other)});
  }
  call.writer = std::move(prepared.writer);
  call.is_stream = prepared.is_stream;
  return std::nullopt;
}

}  // namespace infer::api
