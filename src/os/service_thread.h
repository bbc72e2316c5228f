// A thread that serves for as long as its owner lives, at the priority of everybody else; work that can wait for idle
// processor time belongs to BackgroundThread.
// Thread safety: one owner. Ownership: destroying it waits for the end of the work, so the owner must first tell the
// work to end; what the work borrows must live until then.
#pragma once

#include <functional>
#include <memory>

#include "base/result.h"
#include "os/turns.h"

namespace infer::os {

class ServiceThread {
 public:
  // kExhausted when the system gives no thread.
  static Result<std::unique_ptr<ServiceThread>> start(std::function<void()> work, Turns turns = Turns::kUsual);

  ~ServiceThread();
  ServiceThread(const ServiceThread&) = delete;
  ServiceThread& operator=(const ServiceThread&) = delete;

 private:
  struct State;
  explicit ServiceThread(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace infer::os
