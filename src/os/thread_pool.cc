#include "os/thread_pool.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "base/check.h"
#include "os/turns.h"

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif

namespace infer::os {

namespace {

constexpr size_t kCacheLine = 64;
// How long a thread looks for work, or for the end of it, before it sleeps. Longer than the serial parts between two
// jobs of a step and between two steps, where a token is chosen and handed to its reader (30 to 50 us with a small
// model: at 40 us, 4 us more cost 5 % of the speed); short against a time slice, so that on a busy machine the core
// soon goes to someone who can use it.
constexpr std::chrono::microseconds kSpinTime{100};

inline void pause_core() {
#if defined(__x86_64__) || defined(_M_X64)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Looks at the condition for at most kSpinTime; returns whether it came true. Bounded by the clock because a pause
// takes from 5 to 150 cycles, depending on the core.
template <class Condition>
bool spin_until(Condition&& condition) {
  constexpr int kLooksPerClock = 32;
  if (condition()) return true;
  const auto end = std::chrono::steady_clock::now() + kSpinTime;
  do {
    for (int i = 0; i < kLooksPerClock; ++i) {
      pause_core();
      if (condition()) return true;
    }
  } while (std::chrono::steady_clock::now() < end);
  return false;
}

// Where threads sleep until a counter changes. Whoever changes it calls wake_all() afterwards.
#if defined(__linux__)
// A futex. Measured against a condition variable on 2 loaded cores, jobs of two pieces of 5 us: 21 us a job and not 36.
class Parking {
 public:
  void wait_while(const std::atomic<int>& counter, int seen) { counter.wait(seen, std::memory_order_seq_cst); }
  void wake_all(std::atomic<int>& counter) { counter.notify_all(); }
};
#else
// Not std::atomic::wait: where there is no futex, that of gcc 12 misses wake-ups.
class Parking {
 public:
  void wait_while(const std::atomic<int>& counter, int seen) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return counter.load(std::memory_order_seq_cst) != seen; });
  }
  void wake_all(std::atomic<int>&) {
    // A thread that saw the old value holds the mutex until it sleeps, so it cannot miss what follows.
    {
      const std::lock_guard lock(mutex_);
    }
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
};
#endif

// Pieces [begin, end) that nobody took yet, both in one word. Their owner takes from the front, so that its pieces lie
// side by side in memory; a thread that has none left takes from the back of another's.
class alignas(kCacheLine) PieceRange {
 public:
  static constexpr int kNone = -1;

  void set(uint32_t begin, uint32_t end) { bounds_.store(uint64_t{begin} << 32 | end, std::memory_order_seq_cst); }
  bool empty(std::memory_order order) const {
    const uint64_t bounds = bounds_.load(order);
    return begin_of(bounds) >= end_of(bounds);
  }
  int take_first() {
    return take([](uint64_t bounds) { return std::pair(begin_of(bounds), bounds + (uint64_t{1} << 32)); });
  }
  int take_last() {
    return take([](uint64_t bounds) { return std::pair(end_of(bounds) - 1, bounds - 1); });
  }

 private:
  static uint32_t begin_of(uint64_t bounds) { return static_cast<uint32_t>(bounds >> 32); }
  static uint32_t end_of(uint64_t bounds) { return static_cast<uint32_t>(bounds); }

  // Acquires what was written before set(): exchanges in between keep its release sequence.
  template <class Choose>
  int take(Choose choose) {
    uint64_t bounds = bounds_.load(std::memory_order_relaxed);
    while (begin_of(bounds) < end_of(bounds)) {
      const auto [piece, rest] = choose(bounds);
      if (bounds_.compare_exchange_weak(bounds, rest, std::memory_order_acquire, std::memory_order_relaxed)) {
        return static_cast<int>(piece);
      }
    }
    return kNone;
  }

  std::atomic<uint64_t> bounds_{0};
};

struct alignas(kCacheLine) ThreadOwn {
  TurnOffer turn;
};

}  // namespace

// One job at a time. Its life: the caller writes the job's fields, then each thread's range of pieces. Only who took a
// piece may read the job's fields: the job cannot end before that piece is counted in `finished`. A worker that wakes
// up late finds nothing to take, or takes from the job of the moment; nobody ever waits for it.
struct ThreadPool::State {
  explicit State(size_t threads) : ranges(threads), own(threads) {}

  std::vector<PieceRange> ranges;  // One for each thread, workers that the system refused too.
  std::vector<ThreadOwn> own;      // Likewise.
  OfferRule offers;
  // Pieces of the job that are done.
  alignas(kCacheLine) std::atomic<int> finished{0};
  std::atomic<bool> caller_parked{false};
  Parking caller_parking;

  // What workers sleep on; counts wake-ups.
  alignas(kCacheLine) std::atomic<int> wakeups{0};
  Parking worker_parking;
  // Whether a worker sleeps, or is about to. The waker takes it down, so that jobs that follow before the woken
  // worker runs do not pay for waking it again.
  std::atomic<bool> worker_parked{false};
  std::atomic<bool> stopping{false};

  // The job: written by the caller, read under a valid claim.
  alignas(kCacheLine) PieceFunction function = nullptr;
  void* object = nullptr;
  int pieces = 0;

  std::atomic<bool> running{false};
  std::vector<std::thread> workers;

  bool has_work(std::memory_order order) const {
    for (const PieceRange& range : ranges) {
      if (!range.empty(order)) return true;
    }
    return stopping.load(order);
  }

  // A piece for this thread: its own next one, or the last one of the nearest thread that has any.
  int take_piece(int thread) {
    const int count = static_cast<int>(ranges.size());
    int piece = ranges[static_cast<size_t>(thread)].take_first();
    for (int step = 1; piece == PieceRange::kNone && step < count; ++step) {
      piece = ranges[static_cast<size_t>((thread + step) % count)].take_last();
    }
    return piece;
  }

  // Runs pieces until none is left to take, and counts them as finished: also before an offer of its processor, so that
  // nobody waits for this thread while another one has it.
  void run_pieces(int thread) {
    TurnOffer& turn = own[static_cast<size_t>(thread)].turn;
    int count = 0;
    for (int piece = take_piece(thread); piece != PieceRange::kNone; piece = take_piece(thread)) {
      function(object, static_cast<size_t>(piece), thread);
      ++count;
      if (!turn.is_due(offers)) continue;
      add_finished(std::exchange(count, 0));
      turn.offer(offers);
    }
    if (count > 0) add_finished(count);
  }

  void add_finished(int count) {
    // `pieces` must be read before the last count is added: after that the caller may write the next job.
    const int total = pieces;
    const int before = finished.fetch_add(count, std::memory_order_seq_cst);
    if (before + count == total && caller_parked.load(std::memory_order_seq_cst)) caller_parking.wake_all(finished);
  }

  void work(int thread) {
    while (wait_for_work(thread)) run_pieces(thread);
  }

  // False: the pool is going away.
  bool wait_for_work(int thread) {
    while (!spin_until([this] { return has_work(std::memory_order_relaxed); })) {
      const int seen = wakeups.load(std::memory_order_seq_cst);
      // Store here, then look at the ranges; the caller stores the ranges, then looks here. In the one order of
      // sequentially consistent operations at least one of the two sees the other.
      worker_parked.store(true, std::memory_order_seq_cst);
      if (has_work(std::memory_order_seq_cst)) break;
      worker_parking.wait_while(wakeups, seen);
      own[static_cast<size_t>(thread)].turn.has_waited();
    }
    return !stopping.load(std::memory_order_acquire);
  }

  void wake_workers() {
    wakeups.fetch_add(1, std::memory_order_seq_cst);
    worker_parking.wake_all(wakeups);
  }

  void publish(int count) {
    finished.store(0, std::memory_order_relaxed);
    pieces = count;
    // Over the threads that there are; a range that only others take from would be read backwards.
    const uint64_t threads = workers.size() + 1;
    for (uint64_t t = 0; t < threads; ++t) {
      const auto total = static_cast<uint64_t>(count);
      ranges[t].set(static_cast<uint32_t>(t * total / threads), static_cast<uint32_t>((t + 1) * total / threads));
    }
    if (worker_parked.load(std::memory_order_seq_cst) && worker_parked.exchange(false, std::memory_order_seq_cst)) {
      wake_workers();
    }
  }

  void wait_for_stragglers() {
    if (spin_until([this] { return finished.load(std::memory_order_acquire) == pieces; })) return;
    caller_parked.store(true, std::memory_order_seq_cst);
    for (int done = finished.load(std::memory_order_seq_cst); done != pieces;
         done = finished.load(std::memory_order_seq_cst)) {
      caller_parking.wait_while(finished, done);
    }
    caller_parked.store(false, std::memory_order_relaxed);
  }
};

ThreadPool::ThreadPool(int threads) {
  INFER_CHECK(threads >= 1 && threads <= kThreadsMax);
  state_ = std::make_unique<State>(static_cast<size_t>(threads));
  State* state = state_.get();
  state->workers.reserve(static_cast<size_t>(threads));
  for (int thread = 1; thread < threads; ++thread) {
    try {
      state->workers.emplace_back([state, thread] { state->work(thread); });
    } catch (const std::system_error&) {
      break;  // A limit on processes: work with the threads that there are.
    }
  }
}

ThreadPool::~ThreadPool() {
  state_->stopping.store(true, std::memory_order_seq_cst);
  state_->wake_workers();
  for (std::thread& worker : state_->workers) worker.join();
}

int ThreadPool::threads() const { return static_cast<int>(state_->workers.size()) + 1; }

void ThreadPool::run_pieces(size_t pieces, PieceFunction function, void* object) {
  State& state = *state_;
  INFER_CHECK(pieces <= kPiecesMax);
  INFER_CHECK(!state.running.load(std::memory_order_relaxed));  // run() from inside a body, or from two threads.
  state.running.store(true, std::memory_order_relaxed);
  state.own[0].turn.has_waited();  // The caller, or it may have, since its last job.
  if (pieces <= 1 || state.workers.empty()) {
    for (size_t piece = 0; piece < pieces; ++piece) {
      function(object, piece, 0);
      if (state.own[0].turn.is_due(state.offers)) state.own[0].turn.offer(state.offers);
    }
  } else {
    state.function = function;
    state.object = object;
    state.publish(static_cast<int>(pieces));
    state.run_pieces(0);
    state.wait_for_stragglers();
  }
  state.running.store(false, std::memory_order_relaxed);
}

}  // namespace infer::os
