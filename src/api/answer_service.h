// Answers requests to the API: gives each to a preparer, its reply to the deliverer.
//
// Thread safety: all functions from any thread; none waits, so that the server's handlers can call them. Ownership:
// borrows model and engine, which must outlive it; destroying it ends all calls.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "api/call.h"
#include "api/deliverer.h"
#include "api/preparer.h"
#include "api/served_model.h"
#include "base/result.h"
#include "base/time.h"
#include "engine/engine.h"
#include "http/message.h"
#include "http/response_sink.h"

namespace infer::api {

struct AnswerServiceOptions {
  size_t calls_max = 1024;  // Under way at the same time; more are told to come back.
  int preparers = 2;        // Threads.
  uint64_t seed = 0;        // Of the ids that requests get, which must be hard to guess, and of their random numbers.
};

class AnswerService {
 public:
  // kExhausted: no thread.
  static Result<std::unique_ptr<AnswerService>> start(const ServedModel& model, engine::Engine& engine,
                                                      const AnswerServiceOptions& options);

  // `prepare` says what the body means. The reply carries an X-Request-Id: the request's own, or a new one.
  void answer(http::Request request, const http::ResponseSink& sink, const PrepareAnswer& prepare);
  // Ends what is under way with that id.
  void cancel(const std::string& id, const http::ResponseSink& sink);
  int calls() const { return deliverer_->calls(); }  // Under way.

 private:
  AnswerService(const ServedModel& model, uint64_t seed) : model_(model), seed_(seed) {}

  const ServedModel& model_;
  const uint64_t seed_;
  std::atomic<uint64_t> calls_{0};
  // In this order: preparers wake the deliverer.
  std::unique_ptr<Deliverer> deliverer_;
  std::vector<std::unique_ptr<Preparer>> preparers_;
};

}  // namespace infer::api
