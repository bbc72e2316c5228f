#include "api/webhook.h"

#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "api/json.h"
#include "http/server.h"
#include "os/system_clock.h"

namespace infer::api {
namespace {

class WebhookTest : public ::testing::Test {
 protected:
  // A server that fails the first `failures` posts.
  void start(int failures, int webhook_ms = 20'000) {
    failures_ = failures;
    http::Site site;
    site.routes.add("POST", "/hook", http::Access::kOpen,
                    [this](const http::Request& request, const http::ResponseSink& sink) {
                      const bool fails = failures_.fetch_sub(1) > 0;
                      if (!fails) {
                        const std::lock_guard lock(mutex_);
                        bodies_.push_back(request.body);
                      }
                      sink.reply(http::make_response(fails ? 500 : 204, "text/plain", ""));
                    });
    site.render_refusal = [](const http::Refusal& refusal, std::string_view) {
      return http::make_response(refusal.status, "text/plain", refusal.message);
    };
    server_ = http::Server::start({}, std::move(site), clock_, log_).value();
    webhook_ = Webhook::start({.webhook = server_->url() + "/hook", .webhook_ms = webhook_ms, .webhook_attempts = 2},
                              clock_, log_)
                   .value();
  }
  void wait_until_told(uint64_t count) {
    while (webhook_->delivered() + webhook_->failed() < count) std::this_thread::yield();
  }

  const os::SystemClock clock_;
  NullLog log_;
  std::atomic<int> failures_{0};
  std::mutex mutex_;
  std::vector<std::string> bodies_;
  std::unique_ptr<http::Server> server_;
  std::unique_ptr<Webhook> webhook_;
};

control::Alert alert(bool notifies) {
  return {.event = "memory_pressure",
          .is_raised = true,
          .message = "four fallbacks",
          .reason = "memory_pressure",
          .steps = 2,
          .retry = {},
          .notifies = notifies};
}

TEST_F(WebhookTest, PostsWhatIsWorthANotificationAndTriesAgain) {
  start(1);
  webhook_->on_alert(alert(false), {});
  webhook_->on_alert(alert(true), {1'700'000'000'000});
  wait_until_told(1);
  EXPECT_EQ(webhook_->delivered(), 1u);
  const std::lock_guard lock(mutex_);
  ASSERT_EQ(bodies_.size(), 1u);
  const Json body = Json::parse(bodies_.front()).value();
  EXPECT_EQ(body.find("event")->as_string(), "memory_pressure");
  EXPECT_EQ(body.find("message")->as_string(), "four fallbacks");
  EXPECT_EQ(body.find("steps")->as_int(), 2);
}

TEST_F(WebhookTest, GivesUpWhenItsAttemptsAreUsedUp) {
  start(2);
  webhook_->on_alert(alert(true), {});
  webhook_->on_alert(alert(true), {});
  wait_until_told(2);
  EXPECT_EQ(webhook_->failed(), 1u);
  EXPECT_EQ(webhook_->delivered(), 1u);
}

TEST_F(WebhookTest, ADeadReceiverHoldsNobodyUp) {
  start(0);
  server_.reset();
  for (size_t i = 0; i < 2 * Webhook::kQueued; ++i) webhook_->on_alert(alert(true), {});
  webhook_.reset();
}

}  // namespace
}  // namespace infer::api
