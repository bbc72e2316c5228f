// A thread that serves others for as long as its owner lives (sockets, a step loop), at the process's ordinary
// priority. Thread safety: one owner. Ownership: destroying it waits for the body to return, so tell the body to end
// before.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/result.h"

namespace infer::os {

class ServiceThread {
 public:
  // `name` shows in debuggers and `top -H`; Linux cuts it to 15 bytes. kExhausted when the system gives no thread.
  static Result<std::unique_ptr<ServiceThread>> start(const std::string& name, std::function<void()> body);

  ~ServiceThread();
  ServiceThread(const ServiceThread&) = delete;
  ServiceThread& operator=(const ServiceThread&) = delete;

 private:
  struct State;
  explicit ServiceThread(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace infer::os
