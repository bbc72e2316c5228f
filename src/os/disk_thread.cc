#include "os/disk_thread.h"

#include <atomic>
#include <bit>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/format.h"

namespace infer::os {

namespace {

// How long a stop may go unnoticed while the owner waits.
constexpr std::chrono::milliseconds kLook{5};
// So many batches of urgent numbers run while others wait.
constexpr int kUrgentInARow = 8;

// Numbers from one thread to another. Who sleeps says so first and looks at the ring after, who pushes does it the
// other way round; for that both are sequentially consistent.
class NumberRing {
 public:
  explicit NumberRing(size_t numbers_max) : numbers_(std::bit_ceil(numbers_max)) {}

  bool empty() const { return end_.load(std::memory_order_seq_cst) == begin_.load(std::memory_order_relaxed); }
  void push(uint32_t number) {  // There is room: no more are under way than fit.
    const size_t end = end_.load(std::memory_order_relaxed);
    numbers_[end & (numbers_.size() - 1)] = number;
    end_.store(end + 1, std::memory_order_seq_cst);
  }
  std::optional<uint32_t> pop() {
    const size_t begin = begin_.load(std::memory_order_relaxed);
    if (end_.load(std::memory_order_acquire) == begin) return std::nullopt;
    const uint32_t number = numbers_[begin & (numbers_.size() - 1)];
    begin_.store(begin + 1, std::memory_order_release);
    return number;
  }

 private:
  std::vector<uint32_t> numbers_;
  // Each on a line of its own: one side writes it, the other reads it all the time.
  alignas(64) std::atomic<size_t> begin_ = 0;
  alignas(64) std::atomic<size_t> end_ = 0;
};

}  // namespace

struct DiskThread::State {
  State(size_t most, size_t batch, Work work_to_do, std::function<void()> tell)
      : numbers_max(most),
        work(std::move(work_to_do)),
        on_done(std::move(tell)),
        urgent(most),
        later(most),
        done(most),
        batch_numbers(batch) {}

  size_t numbers_max;
  Work work;
  std::function<void()> on_done;
  NumberRing urgent, later, done;
  size_t under_way = 0;                 // The owner's.
  std::vector<uint32_t> batch_numbers;  // The thread's.

  // Taken only to sleep and to wake: no side holds it while it works.
  std::mutex mutex;
  std::condition_variable wake_thread, wake_owner;
  std::atomic<bool> thread_sleeps = false, owner_sleeps = false;
  std::atomic<bool> stop = false;
  std::thread thread;

  bool has_work() const { return !urgent.empty() || !later.empty(); }
  bool sleep_until_work();
  void run();
};

// False: it is time to end.
bool DiskThread::State::sleep_until_work() {
  std::unique_lock lock(mutex);
  thread_sleeps.store(true, std::memory_order_seq_cst);
  wake_thread.wait(lock, [this] { return stop.load(std::memory_order_relaxed) || has_work(); });
  thread_sleeps.store(false, std::memory_order_seq_cst);
  return !stop.load(std::memory_order_relaxed);
}

void DiskThread::State::run() {
  int urgent_in_a_row = 0;
  while (!stop.load(std::memory_order_relaxed)) {
    if (!has_work() && !sleep_until_work()) return;
    const bool others_turn = urgent.empty() || (urgent_in_a_row >= kUrgentInARow && !later.empty());
    urgent_in_a_row = others_turn ? 0 : urgent_in_a_row + 1;
    NumberRing& ring = others_turn ? later : urgent;
    size_t count = 0;
    while (count < batch_numbers.size()) {
      const std::optional<uint32_t> number = ring.pop();
      if (!number) break;
      batch_numbers[count++] = *number;
    }
    work(std::span(batch_numbers).first(count));
    for (size_t i = 0; i < count; ++i) done.push(batch_numbers[i]);
    if (owner_sleeps.load(std::memory_order_seq_cst)) {
      {
        const std::lock_guard lock(mutex);
      }  // The owner is in its wait, or sees the ring before.
      wake_owner.notify_one();
    }
    if (on_done) on_done();
  }
}

DiskThread::DiskThread(std::unique_ptr<State> state) : state_(std::move(state)) {}

Result<std::unique_ptr<DiskThread>> DiskThread::start(size_t numbers_max, size_t batch_max, Work work,
                                                      std::function<void()> on_done) {
  INFER_CHECK(numbers_max > 0 && batch_max > 0);
  auto state = std::make_unique<State>(numbers_max, batch_max, std::move(work), std::move(on_done));
  try {
    state->thread = std::thread([raw = state.get()] { raw->run(); });
  } catch (const std::system_error& error) {
    return Error{ErrorCode::kExhausted, format("no thread for disk I/O: {}", error.what())};
  }
  return std::unique_ptr<DiskThread>(new DiskThread(std::move(state)));
}

DiskThread::~DiskThread() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->stop.store(true, std::memory_order_relaxed);
  }
  state_->wake_thread.notify_one();
  state_->thread.join();
}

void DiskThread::submit(uint32_t number, Urgency urgency) {
  INFER_CHECK(state_->under_way < state_->numbers_max);
  ++state_->under_way;
  (urgency == Urgency::kUrgent ? state_->urgent : state_->later).push(number);
  if (!state_->thread_sleeps.load(std::memory_order_seq_cst)) return;
  {
    const std::lock_guard lock(state_->mutex);
  }  // The thread is in its wait, or sees the ring before.
  state_->wake_thread.notify_one();
}

std::optional<uint32_t> DiskThread::take_done() {
  const std::optional<uint32_t> number = state_->done.pop();
  if (number) --state_->under_way;
  return number;
}

Status DiskThread::wait_for_done(const CallContext& call) {
  INFER_CHECK(state_->under_way > 0);
  std::unique_lock lock(state_->mutex);
  state_->owner_sleeps.store(true, std::memory_order_seq_cst);
  Status status;
  while (state_->done.empty()) {
    status = call.check("waiting for the disk");
    if (!status) break;
    state_->wake_owner.wait_for(lock, kLook);
  }
  state_->owner_sleeps.store(false, std::memory_order_seq_cst);
  return status;
}

}  // namespace infer::os
