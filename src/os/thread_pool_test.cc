#include "os/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <numeric>
#include <thread>
#include <vector>

#include "testing/property.h"

namespace infer::os {
namespace {

using ::infer::testing::for_each_case;

// Plain counters: a piece that runs twice at once, or whose writes the caller cannot see, is a race that TSan reports.
void expect_each_piece_once(ThreadPool& pool, size_t pieces) {
  std::vector<int> runs(pieces, 0);
  pool.run(pieces, [&](size_t piece, int thread) {
    ASSERT_LT(thread, pool.threads());
    ASSERT_GE(thread, 0);
    ++runs[piece];
  });
  for (size_t i = 0; i < pieces; ++i) ASSERT_EQ(runs[i], 1) << "piece " << i << " of " << pieces;
}

TEST(ThreadPool, RunsEachPieceExactlyOnceForAnyNumberOfPiecesAndThreads) {
  for_each_case(40, [](Rng& rng) {
    ThreadPool pool(1 + static_cast<int>(rng.below(9)));
    for (int i = 0; i < 100; ++i) expect_each_piece_once(pool, rng.below(i % 10 == 0 ? 2000 : 20));
  });
}

TEST(ThreadPool, ManyShortJobsInARowLoseNothing) {
  for (const int threads : {2, 3, 8}) {
    ThreadPool pool(threads);
    uint64_t total = 0;
    std::vector<uint64_t> of_piece(7, 0);
    for (uint64_t job = 0; job < 20'000; ++job) {
      const size_t pieces = 1 + job % 7;
      pool.run(pieces, [&](size_t piece, int) { of_piece[piece] += job; });
      total += job * pieces;
    }
    EXPECT_EQ(std::accumulate(of_piece.begin(), of_piece.end(), uint64_t{0}), total) << threads << " threads";
  }
}

TEST(ThreadPool, JobsSeeWhatEarlierJobsWrote) {
  ThreadPool pool(4);
  std::vector<int> values(64, 0);
  for (int job = 1; job <= 2000; ++job) {
    // Each piece reads what another piece, on whichever thread, wrote in the job before.
    std::vector<int> next(values.size(), 0);
    pool.run(values.size(), [&](size_t piece, int) { next[piece] = values[(piece + 13) % values.size()] + 1; });
    values = next;
  }
  for (const int value : values) EXPECT_EQ(value, 2000);
}

TEST(ThreadPool, JobsThatComeAfterTheWorkersFellAsleepWakeThem) {
  ThreadPool pool(3);
  for (int job = 0; job < 50; ++job) {
    // The caller works alone for longer than workers look for work.
    const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(200);
    while (std::chrono::steady_clock::now() < end) {
    }
    expect_each_piece_once(pool, 50);
  }
}

TEST(ThreadPool, WorkersReallyTakePart) {
  ThreadPool pool(2);
  std::atomic<int> arrived{0};
  // Ends only when two threads are inside at the same time.
  pool.run(2, [&](size_t, int) {
    arrived.fetch_add(1);
    while (arrived.load() < 2) std::this_thread::yield();
  });
  EXPECT_EQ(arrived.load(), 2);
}

TEST(ThreadPool, AThreadThatIsHeldUpHoldsUpOnePieceOnly) {
  ThreadPool pool(2);
  constexpr size_t kPieces = 40;
  for (const size_t held : {size_t{0}, kPieces / 2 - 1, kPieces / 2, kPieces - 1}) {
    std::atomic<size_t> others{0};
    // Ends only when the other thread does all pieces but this one, those of the held thread's own share too.
    pool.run(kPieces, [&](size_t piece, int) {
      if (piece != held) {
        others.fetch_add(1);
        return;
      }
      while (others.load() < kPieces - 1) std::this_thread::yield();
    });
    EXPECT_EQ(others.load(), kPieces - 1);
  }
}

TEST(ThreadPool, AThreadTakesItsOwnPiecesInOrder) {
  ThreadPool pool(2);
  std::vector<int> thread_of(100, -1);
  std::vector<size_t> order_of(100, 0);
  std::vector<size_t> done(2, 0);
  pool.run(thread_of.size(), [&](size_t piece, int thread) {
    thread_of[piece] = thread;
    order_of[piece] = done[static_cast<size_t>(thread)]++;
  });
  // The caller's share is the first half: what it kept of it, it did from the front.
  size_t kept = 0;
  while (kept < thread_of.size() / 2 && thread_of[kept] == 0) ++kept;
  for (size_t piece = 1; piece < kept; ++piece) EXPECT_GT(order_of[piece], order_of[piece - 1]);
  for (size_t piece = kept; piece < thread_of.size() / 2; ++piece) EXPECT_EQ(thread_of[piece], 1);
}

TEST(ThreadPool, OneThreadOrOnePieceRunsOnTheCaller) {
  const std::thread::id caller = std::this_thread::get_id();
  ThreadPool alone(1);
  EXPECT_EQ(alone.threads(), 1);
  alone.run(20, [&](size_t, int thread) {
    EXPECT_EQ(thread, 0);
    EXPECT_EQ(std::this_thread::get_id(), caller);
  });
  ThreadPool four(4);
  EXPECT_EQ(four.threads(), 4);
  for (int i = 0; i < 100; ++i) {
    four.run(1, [&](size_t piece, int thread) {
      EXPECT_EQ(piece, 0u);
      EXPECT_EQ(thread, 0);
      EXPECT_EQ(std::this_thread::get_id(), caller);
    });
  }
}

TEST(ThreadPool, NoPiecesIsNoWork) {
  ThreadPool pool(2);
  pool.run(0, [](size_t, int) { ADD_FAILURE() << "ran a piece"; });
}

TEST(ThreadPool, PoolsComeAndGoWithAndWithoutWork) {
  for (int i = 0; i < 200; ++i) {
    ThreadPool pool(1 + i % 5);
    if (i % 2 == 0) expect_each_piece_once(pool, 10);
  }
}

// Two pools of eight threads, each driven by its own caller, on however many cores there are: threads lose their core
// in every state, and the job data of a finished run, which lies on the caller's stack, is overwritten at once.
TEST(ThreadPool, HoldsUnderFarMoreThreadsThanCores) {
  auto drive = [](uint64_t seed) {
    ThreadPool pool(8);
    Rng rng(seed);
    for (int job = 0; job < 3000; ++job) {
      const size_t pieces = 2 + rng.below(30);
      std::vector<uint64_t> sums(pieces, 0);
      const uint64_t add = rng.next();
      pool.run(pieces, [&sums, add](size_t piece, int) {
        for (uint64_t i = 0; i < 200; ++i) sums[piece] += add ^ i;
      });
      uint64_t expected = 0;
      for (uint64_t i = 0; i < 200; ++i) expected += add ^ i;
      for (const uint64_t sum : sums) ASSERT_EQ(sum, expected);
    }
  };
  std::thread other([&] { drive(1); });
  drive(2);
  other.join();
}

TEST(ThreadPoolDeathTest, NestedRunIsAProgrammerError) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        ThreadPool pool(2);
        pool.run(4, [&](size_t, int) { pool.run(4, [](size_t, int) {}); });
      },
      "running");
}

}  // namespace
}  // namespace infer::os
