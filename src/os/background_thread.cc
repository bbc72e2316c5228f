#include "os/background_thread.h"

#if defined(_WIN32)
#include "os/windows_api.h"
#elif defined(__linux__)
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#elif defined(__APPLE__)
#include <pthread.h>
#endif

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include "base/format.h"

namespace infer::os {

namespace {

// How long a stop may go unnoticed while somebody waits.
constexpr std::chrono::milliseconds kLook{5};

// The thread that calls this gets its share from now on. Without the right to that it runs as others do.
void yield_to_others(BackgroundThread::Share share) {
  const bool left_over = share == BackgroundThread::Share::kLeftOver;
#if defined(_WIN32)
  (void)::SetThreadPriority(::GetCurrentThread(),
                            left_over ? THREAD_MODE_BACKGROUND_BEGIN : THREAD_PRIORITY_BELOW_NORMAL);
#elif defined(__linux__)
  constexpr int kTenth = 10;  // Levels of "nice"; each takes a fifth of what is left.
  const sched_param none{};
  // On Linux priorities belong to threads: 0 is the calling one.
  (void)(left_over ? ::sched_setscheduler(0, SCHED_IDLE, &none) : ::setpriority(PRIO_PROCESS, 0, kTenth));
#elif defined(__APPLE__)
  (void)::pthread_set_qos_class_self_np(left_over ? QOS_CLASS_BACKGROUND : QOS_CLASS_UTILITY, 0);
#endif
}

// Ends that for a thread that somebody waits for now. Elsewhere it keeps what it gets.
void stop_yielding(std::thread& thread) {
#if defined(__linux__)
  const sched_param none{};
  (void)::pthread_setschedparam(thread.native_handle(), SCHED_OTHER, &none);
#else
  (void)thread;
#endif
}

}  // namespace

struct BackgroundThread::State {
  Share share;
  Work work;
  CancelSource cancel;
  mutable std::mutex mutex;
  std::condition_variable ended;
  std::optional<Status> status;  // Guarded by mutex.
  std::thread thread;

  void run() {
    yield_to_others(share);
    Status outcome = work(cancel.token());
    const std::lock_guard lock(mutex);
    status = std::move(outcome);
    ended.notify_all();
  }
};

BackgroundThread::BackgroundThread(std::unique_ptr<State> state) : state_(std::move(state)) {}

Result<std::unique_ptr<BackgroundThread>> BackgroundThread::start(Share share, Work work) {
  auto state = std::unique_ptr<State>(new State);
  state->share = share;
  state->work = std::move(work);
  try {
    state->thread = std::thread([raw = state.get()] { raw->run(); });
  } catch (const std::system_error& error) {
    return Error{ErrorCode::kExhausted, format("no thread for work in the background: {}", error.what())};
  }
  return std::unique_ptr<BackgroundThread>(new BackgroundThread(std::move(state)));
}

BackgroundThread::~BackgroundThread() {
  state_->cancel.cancel(CancelReason::kShutdown);
  stop_yielding(state_->thread);
  state_->thread.join();
}

std::optional<Status> BackgroundThread::result() const {
  const std::lock_guard lock(state_->mutex);
  return state_->status;
}

Status BackgroundThread::finish(const CallContext& call) {
  stop_yielding(state_->thread);
  std::unique_lock lock(state_->mutex);
  while (!state_->status) {
    if (call.should_stop()) state_->cancel.cancel(CancelReason::kUser);
    state_->ended.wait_for(lock, kLook);
  }
  return *state_->status;
}

}  // namespace infer::os
