#include "api/webhook.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "api/evaluation_json.h"
#include "api/metrics_json.h"
#include "base/format.h"
#include "http/client.h"

namespace infer::api {

namespace {

constexpr Duration kFirstWait = Duration::from_ms(500);
constexpr int kStatusOk = 200, kStatusEnd = 300;

}  // namespace

Result<std::unique_ptr<Webhook>> Webhook::start(const control::NotifyConfig& config, const Clock& clock, Log& log) {
  auto webhook = std::unique_ptr<Webhook>(new Webhook(config, clock, log));
  INFER_ASSIGN(webhook->thread_, os::ServiceThread::start([&each = *webhook] { each.serve(); }));
  return webhook;
}

Webhook::~Webhook() {
  stop_.cancel(CancelReason::kShutdown);
  queue_.close();
  wake_.notify();
  thread_.reset();
}

void Webhook::on_alert(const control::Alert& alert, WallTime time) {
  if (!alert.notifies) return;
  if (queue_.try_push(alert_json(alert, time).dump())) {
    wake_.notify();
  } else {
    failed_.fetch_add(1, std::memory_order_relaxed);
  }
}

void Webhook::serve() {
  std::vector<std::string> bodies;
  while (!stop_.token().cancelled()) {
    queue_.take_all(bodies);
    for (const std::string& body : bodies) {
      if (stop_.token().cancelled()) return;
      const Status done = deliver(body);
      (done ? delivered_ : failed_).fetch_add(1, std::memory_order_relaxed);
      if (!done && !failing_) {
        log_.write(LogLevel::kWarning, format("notify.webhook: {}", done.error().message));
      }
      failing_ = !done;
    }
    if (bodies.empty()) wake_.wait_until(Instant::never());
    bodies.clear();
  }
}

Status Webhook::deliver(const std::string& body) {
  const CallContext call{clock_, Deadline::at(clock_.now() + Duration::from_ms(config_.webhook_ms)), stop_.token()};
  http::ClientRequest request{.method = "POST", .url = config_.webhook, .headers = {}, .body = body};
  request.headers.set("Content-Type", "application/json");
  Status status;
  Duration wait = kFirstWait;
  for (int attempt = 0; attempt < config_.webhook_attempts; ++attempt) {
    if (attempt > 0) {
      const Instant until = std::min(call.deadline.when(), clock_.now() + wait);
      while (!call.should_stop() && clock_.now() < until) wake_.wait_until(until);
      wait = wait + wait;
    }
    INFER_TRY(call.check("the notification"));
    const auto response = http::Client().send(request, call);
    if (response && response->status >= kStatusOk && response->status < kStatusEnd) return {};
    status =
        response ? Error{ErrorCode::kIo, format("{} answers {}", config_.webhook, response->status)} : response.error();
  }
  return status;
}

}  // namespace infer::api
