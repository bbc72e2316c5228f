#include "os/service_thread.h"

#if defined(__linux__)
#include <pthread.h>
#endif

#include <system_error>
#include <thread>
#include <utility>

#include "base/format.h"

namespace infer::os {

namespace {

void name_thread(std::thread& thread, const std::string& name) {
#if defined(__linux__)
  (void)::pthread_setname_np(thread.native_handle(), name.substr(0, 15).c_str());
#else
  (void)thread;
  (void)name;
#endif
}

}  // namespace

struct ServiceThread::State {
  std::thread thread;
};

ServiceThread::ServiceThread(std::unique_ptr<State> state) : state_(std::move(state)) {}

ServiceThread::~ServiceThread() { state_->thread.join(); }

Result<std::unique_ptr<ServiceThread>> ServiceThread::start(const std::string& name, std::function<void()> body) {
  auto state = std::unique_ptr<State>(new State);
  try {
    state->thread = std::thread(std::move(body));
  } catch (const std::system_error& error) {
    return Error{ErrorCode::kExhausted, format("no thread for '{}': {}", name, error.what())};
  }
  name_thread(state->thread, name);
  return std::unique_ptr<ServiceThread>(new ServiceThread(std::move(state)));
}

}  // namespace infer::os
