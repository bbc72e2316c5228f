#include "api/delivery.h"

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "http/exchange.h"
#include "os/wake_signal.h"

namespace infer::api {
namespace {

// Each piece is its own event, so that what is written together can be told apart.
class PlainWriter final : public AnswerWriter {
 public:
  std::string begin() override { return "<"; }
  std::string add(size_t, engine::AnswerPiece piece) override { return "[" + piece.text + "]"; }
  std::string end_choice(size_t, const engine::RequestResult&) override { return ""; }
  std::string end() override { return ">"; }
  std::string failed(const ApiError&) override { return "!"; }
  Json whole() override { return {}; }
};

struct NoLoop final : http::Waker {
  void post(std::function<void()>) override {}
};

Instant at(double ms) { return Instant::from_ns(0) + Duration::from_seconds(ms / 1000); }

class DeliveryTest : public ::testing::Test {
 protected:
  DeliveryTest() {
    call_.writer = std::make_unique<PlainWriter>();
    call_.is_stream = true;
    call_.choices.push_back({engine::RequestHandle(stream_)});
    call_.prepared = true;
  }

  void push(const std::string& text) { stream_->push({.token = 1, .text = text, .logprobs = std::nullopt}); }

  // What each push to the connection since the last call said; one for each write.
  std::vector<std::string> taken() {
    std::vector<std::string> pieces;
    for (http::Exchange::Answer& answer : exchange_->take()) {
      auto* bytes = std::get_if<std::string>(&answer);
      if (bytes != nullptr && !bytes->empty()) pieces.push_back(std::move(*bytes));
    }
    exchange_->set_unsent(0);
    return pieces;
  }

  using Writes = std::vector<std::string>;
  std::shared_ptr<NoLoop> loop_ = std::make_shared<NoLoop>();
  std::shared_ptr<http::Exchange> exchange_ = std::make_shared<http::Exchange>(loop_, [] {}, 1 << 20);
  std::shared_ptr<engine::AnswerStream> stream_ =
      std::make_shared<engine::AnswerStream>(16, std::make_shared<os::WakeSignal>(), nullptr);
  Call call_{http::Request(), http::ResponseSink(exchange_)};
};

TEST_F(DeliveryTest, TheFirstPieceGoesOutAtOnceAndLaterOnesToo) {
  EXPECT_EQ(deliver(call_, at(0)), Delivery::kNothing);
  EXPECT_EQ(taken(), Writes{"<"});
  push("a");
  EXPECT_EQ(deliver(call_, at(0.1)), Delivery::kPieces);
  EXPECT_EQ(taken(), Writes{"[a]"});
  push("b");
  EXPECT_EQ(deliver(call_, at(5)), Delivery::kPieces);
  EXPECT_EQ(taken(), Writes{"[b]"});
}

TEST_F(DeliveryTest, TheEndOfAStreamGoesOutWithItsLastPieces) {
  push("a");
  EXPECT_EQ(deliver(call_, at(0)), Delivery::kPieces);
  push("b");
  stream_->finish({.finish_reason = engine::FinishReason::kStop, .generated_tokens = 2});
  EXPECT_EQ(deliver(call_, at(1)), Delivery::kOver);
  EXPECT_EQ(taken(), (Writes{"<", "[a]", "[b]>"}));
}

TEST_F(DeliveryTest, ACancellationIsNotHeldBack) {
  push("a");
  EXPECT_EQ(deliver(call_, at(0)), Delivery::kPieces);
  call_.cancel.cancel(CancelReason::kUser);
  EXPECT_EQ(deliver(call_, at(0.1)), Delivery::kNothing);
  EXPECT_TRUE(stream_->cancel_token().cancelled());
  push("b");
  stream_->finish(
      {.finish_reason = engine::FinishReason::kCancelled, .cancel_reason = CancelReason::kUser, .generated_tokens = 2});
  EXPECT_EQ(deliver(call_, at(0.2)), Delivery::kOver);
  EXPECT_EQ(taken(), (Writes{"<", "[a]", "[b]>"}));
}

}  // namespace
}  // namespace infer::api
