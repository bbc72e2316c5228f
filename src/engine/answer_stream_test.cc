#include "engine/answer_stream.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "os/system_clock.h"
#include "testing/test_clock.h"

namespace infer::engine {
namespace {

AnswerPiece piece(TokenId token) { return {.token = token, .text = "t", .logprobs = std::nullopt}; }

TEST(AnswerStream, GivesPiecesInOrderAndThenTheResult) {
  AnswerStream stream(4, std::make_shared<os::WakeSignal>(), nullptr);
  EXPECT_FALSE(stream.take().has_value());
  stream.push(piece(1));
  stream.push(piece(2));
  stream.finish({.finish_reason = FinishReason::kStop, .generated_tokens = 2});
  EXPECT_TRUE(stream.finished());
  EXPECT_EQ(stream.take()->token, 1);
  EXPECT_EQ(stream.take()->token, 2);
  EXPECT_FALSE(stream.take().has_value());
  EXPECT_EQ(stream.result().generated_tokens, 2);
}

TEST(AnswerStream, AFullRingWakesTheEngineOnceThereIsRoom) {
  const auto wake = std::make_shared<os::WakeSignal>();
  const Instant past;
  AnswerStream stream(2, wake, nullptr);
  stream.push(piece(1));
  EXPECT_TRUE(stream.has_room());
  stream.take();
  EXPECT_FALSE(wake->wait_until(past));  // Nobody waited for that.
  stream.push(piece(2));
  stream.push(piece(3));
  EXPECT_FALSE(stream.has_room());
  stream.push({.token = kNoToken, .text = "rest", .logprobs = std::nullopt});  // Always fits.
  stream.take();
  EXPECT_TRUE(wake->wait_until(past));
}

TEST(AnswerStream, AReaderIsToldOnceOfAllThatWasPushed) {
  int told = 0;
  AnswerStream stream(4, std::make_shared<os::WakeSignal>(), [&told] { ++told; });
  stream.announce();
  stream.push(piece(1));
  stream.push(piece(2));
  EXPECT_EQ(told, 0);
  stream.announce();
  stream.announce();
  EXPECT_EQ(told, 1);
}

TEST(AnswerStream, AReaderWhoHasFoundThePieceIsNotToldOfIt) {
  int told = 0;
  AnswerStream stream(4, std::make_shared<os::WakeSignal>(), [&told] { ++told; });
  stream.push(piece(1));
  EXPECT_TRUE(stream.take());
  stream.announce();
  EXPECT_EQ(told, 0);
  stream.push(piece(2));
  stream.announce();
  EXPECT_EQ(told, 1);
}

TEST(AnswerStream, TheFirstReasonToCancelStays) {
  const auto wake = std::make_shared<os::WakeSignal>();
  AnswerStream stream(2, wake, nullptr);
  stream.cancel(CancelReason::kUser);
  stream.cancel(CancelReason::kPolicy);
  EXPECT_EQ(stream.cancel_token().reason(), CancelReason::kUser);
  EXPECT_TRUE(wake->wait_until(Instant()));
}

TEST(AnswerStream, AReaderWhoGoesAwayCancels) {
  const auto stream = std::make_shared<AnswerStream>(2, std::make_shared<os::WakeSignal>(), nullptr);
  {
    const RequestHandle handle(stream);
  }
  EXPECT_EQ(stream->cancel_token().reason(), CancelReason::kClientGone);
  const auto ended = std::make_shared<AnswerStream>(2, std::make_shared<os::WakeSignal>(), nullptr);
  ended->finish({});
  {
    const RequestHandle handle(ended);
  }
  EXPECT_FALSE(ended->cancel_token().cancelled());
}

TEST(AnswerStream, TellsWhoeverListensOfPiecesAndTheEnd) {
  int calls = 0;
  AnswerStream stream(2, std::make_shared<os::WakeSignal>(), [&calls] { ++calls; });
  stream.push(piece(1));
  stream.announce();
  EXPECT_EQ(calls, 1);
  stream.finish({});
  EXPECT_EQ(calls, 2);
}

TEST(AnswerStream, WhoWantsTheWholeIsToldWhenHalfOfTheRoomIsTaken) {
  int calls = 0;
  AnswerStream stream(4, std::make_shared<os::WakeSignal>(), [&calls] { ++calls; }, {}, nullptr, true);
  for (TokenId token = 0; token < 4; ++token) {
    stream.push(piece(token));
    stream.announce();
    EXPECT_EQ(calls, token < 1 ? 0 : token);
  }
  stream.finish({});
  EXPECT_EQ(calls, 4);
}

TEST(AnswerStream, AReaderOnAnotherThreadGetsEverything) {
  constexpr int kTokens = 5000;
  AnswerStream stream(8, std::make_shared<os::WakeSignal>(), nullptr);
  std::thread engine([&stream] {
    for (int i = 0; i < kTokens;) {
      if (!stream.has_room()) continue;
      stream.push(piece(i++));
      stream.announce();
    }
    stream.finish({.finish_reason = FinishReason::kLength});
  });
  const os::SystemClock clock;
  const Answer answer = read_answer(stream, {clock, Deadline::never(), {}});
  engine.join();
  ASSERT_EQ(answer.tokens.size(), static_cast<size_t>(kTokens));
  for (int i = 0; i < kTokens; ++i) ASSERT_EQ(answer.tokens[static_cast<size_t>(i)], i);
  EXPECT_EQ(answer.text.size(), static_cast<size_t>(kTokens));
}

TEST(AnswerStream, WaitingEndsWithTheCallAndLeavesTheRequest) {
  AnswerStream stream(2, std::make_shared<os::WakeSignal>(), nullptr);
  const testing::TestClock clock;
  const Status status = stream.wait({clock, Deadline::at(clock.now()), {}});
  ASSERT_FALSE(status.has_value());
  EXPECT_EQ(status.error().code, ErrorCode::kDeadline);
  EXPECT_FALSE(stream.cancel_token().cancelled());
}

TEST(AnswerStream, WhoeverEndsItFirstEndsIt) {
  AnswerStream stream(2, std::make_shared<os::WakeSignal>(), nullptr);
  EXPECT_TRUE(stream.finish({.finish_reason = FinishReason::kFailed}));
  stream.push(piece(1));
  EXPECT_FALSE(stream.finish({.finish_reason = FinishReason::kStop}));
  EXPECT_EQ(stream.result().finish_reason, FinishReason::kFailed);
  EXPECT_FALSE(stream.take().has_value());
}

TEST(AnswerStream, AnEndFromOutsideComesAfterAllPieces) {
  for (int round = 0; round < 200; ++round) {
    AnswerStream stream(64, std::make_shared<os::WakeSignal>(), nullptr);
    std::atomic<int> ends{0};
    std::thread engine([&] {
      for (TokenId token = 0; token < 50; ++token) stream.push(piece(token));
      ends += stream.finish({.finish_reason = FinishReason::kStop}) ? 1 : 0;
    });
    std::thread watchdog([&] {
      while (!stream.finished() && !stream.finish({.finish_reason = FinishReason::kFailed})) std::this_thread::yield();
      ends += stream.result().finish_reason == FinishReason::kFailed ? 1 : 0;
    });
    TokenId next = 0;
    while (true) {
      const bool last = stream.finished();
      while (const auto taken = stream.take()) EXPECT_EQ(taken->token, next++);
      if (last) break;
    }
    engine.join();
    watchdog.join();
    EXPECT_FALSE(stream.take().has_value());
    EXPECT_EQ(stream.pushed_tokens(), next);
    EXPECT_EQ(ends, 1);
  }
}

}  // namespace
}  // namespace infer::engine
