#include "os/interrupt.h"

#include <gtest/gtest.h>

#if !defined(_WIN32)

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <thread>

namespace infer::os {
namespace {

struct sigaction action_of(int number) {
  struct sigaction action{};
  ::sigaction(number, nullptr, &action);
  return action;
}

TEST(Interrupt, CtrlCCancelsAsTheUserAndTerminateAsShutdown) {
  CancelSource source;
  const InterruptGuard guard(source);
  EXPECT_FALSE(source.token().cancelled());
  ::raise(SIGINT);
  EXPECT_EQ(source.token().reason(), CancelReason::kUser);
  ::raise(SIGTERM);  // The first reason stays.
  EXPECT_EQ(source.token().reason(), CancelReason::kUser);
  source.reset();
  ::raise(SIGTERM);
  EXPECT_EQ(source.token().reason(), CancelReason::kShutdown);
}

TEST(Interrupt, TheOldHandlersComeBack) {
  static std::atomic<int> calls{0};
  struct sigaction mine{};
  mine.sa_handler = [](int) { calls.fetch_add(1); };
  struct sigaction before{};
  ASSERT_EQ(::sigaction(SIGINT, &mine, &before), 0);
  CancelSource source;
  {
    const InterruptGuard guard(source);
    ::raise(SIGINT);
    EXPECT_EQ(calls.load(), 0);
  }
  source.reset();
  ::raise(SIGINT);
  EXPECT_EQ(calls.load(), 1);
  EXPECT_FALSE(source.token().cancelled());
  ::sigaction(SIGINT, &before, nullptr);
}

TEST(Interrupt, TheInnermostOfNestedGuardsGetsTheSignal) {
  CancelSource outer;
  CancelSource inner;
  const InterruptGuard outer_guard(outer);
  {
    const InterruptGuard inner_guard(inner);
    ::raise(SIGINT);
    EXPECT_TRUE(inner.token().cancelled());
    EXPECT_FALSE(outer.token().cancelled());
  }
  ::raise(SIGINT);
  EXPECT_TRUE(outer.token().cancelled());
}

TEST(Interrupt, AnIgnoredSignalStaysIgnored) {
  auto* before = ::signal(SIGINT, SIG_IGN);
  CancelSource source;
  {
    const InterruptGuard guard(source);
    ::raise(SIGINT);
    EXPECT_FALSE(source.token().cancelled());
  }
  EXPECT_EQ(action_of(SIGINT).sa_handler, SIG_IGN);
  ::signal(SIGINT, before);
}

TEST(Interrupt, SignalsFromOtherThreadsWhileGuardsComeAndGoAreSafe) {
  // Caught here, so that a signal that falls between two guards does not end the test.
  auto* before = ::signal(SIGINT, [](int) {});
  std::atomic<bool> stop{false};
  std::thread sender([&] {
    while (!stop.load()) ::kill(::getpid(), SIGINT);
  });
  int cancelled = 0;
  for (int i = 0; i < 2000 || cancelled == 0; ++i) {
    CancelSource source;
    {
      const InterruptGuard guard(source);
      if (i % 64 == 0) std::this_thread::yield();
    }
    cancelled += source.token().cancelled() ? 1 : 0;
  }
  stop.store(true);
  sender.join();
  EXPECT_GT(cancelled, 0);
  ::signal(SIGINT, before);
}

}  // namespace
}  // namespace infer::os

#endif
