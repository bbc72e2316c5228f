#include "os/service_thread.h"

#include <system_error>
#include <thread>
#include <utility>

#include "base/format.h"

namespace infer::os {

struct ServiceThread::State {
  std::thread thread;
};

ServiceThread::ServiceThread(std::unique_ptr<State> state) : state_(std::move(state)) {}

ServiceThread::~ServiceThread() { state_->thread.join(); }

Result<std::unique_ptr<ServiceThread>> ServiceThread::start(std::function<void()> work, Turns turns) {
  auto state = std::make_unique<State>();
  try {
    state->thread = std::thread([work = std::move(work), turns] {
      take_turns(turns);
      work();
    });
  } catch (const std::system_error& error) {
    return Error{ErrorCode::kExhausted, format("the system gives no thread: {}", error.what())};
  }
  return std::unique_ptr<ServiceThread>(new ServiceThread(std::move(state)));
}

}  // namespace infer::os
