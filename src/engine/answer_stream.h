// What connects one request's reader with the engine: pieces of the answer in a ring of limited length, how it ended,
// and the wish to end it.
//
// A reader who is slow fills the ring; the engine then leaves the sequence alone until there is room, and memory does
// not grow. The result is there once finished() is true; pieces may still be in the ring then. Where the engine's
// thread hangs, the watchdog's ends the stream in its place: whoever comes first. Thread safety: one reader thread, the
// engine's and the watchdog's thread; cancel() from any thread. Ownership: shared by all.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/call_context.h"
#include "base/ids.h"
#include "base/result.h"
#include "engine/request.h"
#include "os/wake_signal.h"
#include "sampling/logprobs.h"

namespace infer::engine {

// A token of the answer with the text that became certain by it, which may be none or that of earlier tokens too.
struct AnswerPiece {
  TokenId token = kNoToken;  // kNoToken: only the rest of the text.
  std::string text;
  std::optional<sampling::Logprobs> logprobs;
};

// Of its request, for the watchdog.
struct RequestFacts {
  Instant submitted;
  Deadline total = Deadline::at(Instant::never());
  Instant first_token_by = Instant::never();
  int prompt_tokens = 0;
};

class AnswerStream {
 public:
  // Room for `capacity` tokens. `engine` is notified when the reader makes room or cancels. Streams of one request
  // share the wish to end it, `cancel`; null: this one is alone. `wants_whole`: as Request has it.
  AnswerStream(size_t capacity, std::shared_ptr<os::WakeSignal> engine, std::function<void()> on_ready,
               const RequestFacts& facts = {}, std::shared_ptr<CancelSource> cancel = nullptr,
               bool wants_whole = false);
  AnswerStream(const AnswerStream&) = delete;
  AnswerStream& operator=(const AnswerStream&) = delete;

  // ---- The reader.
  // The next piece, if there is one.
  std::optional<AnswerPiece> take();
  bool finished() const { return finished_.load(std::memory_order_acquire); }
  // finished() is true.
  const RequestResult& result() const;
  // Until there is a piece or the end. kDeadline, kCancelled: of the call, not of the request.
  Status wait(const CallContext& call);
  // The same for as long as until `when`; it may return early.
  void wait_until(Instant when);
  // Asks for the end of the whole request; the first reason stays.
  void cancel(CancelReason reason);

  // ---- The engine.
  CancelToken cancel_token() const { return cancel_->token(); }
  // Whether another token fits. When not, the reader will notify the engine once it does.
  bool has_room();
  // How many fit.
  size_t room() const { return capacity_ - std::min(capacity_, written_.load() - read_.load()); }
  // There is room; a piece without a token always fits once. Dropped when the watchdog has ended the stream. The reader
  // may take it at once, but nothing wakes him before announce().
  void push(AnswerPiece piece);
  // Wakes the reader where pieces were pushed that he was not told of, and has not found himself: one who reads many
  // streams may have taken them while he was told of the first.
  void announce();
  int pushed_tokens() const { return pushed_tokens_.load(std::memory_order_relaxed); }

  // ---- The engine or the watchdog.
  const RequestFacts& facts() const { return facts_; }
  // Nothing comes after. False when the other one has ended it already, or is writing into it.
  bool finish(RequestResult result);

 private:
  bool begin_writing() { return !writing_.exchange(true, std::memory_order_acquire); }
  bool has_piece() const { return written_.load(std::memory_order_acquire) != read_.load(std::memory_order_acquire); }
  void wake_reader();

  bool unannounced_ = false;  // The engine's own.
  const size_t capacity_;
  const std::shared_ptr<os::WakeSignal> engine_;
  const std::function<void()> on_ready_;
  const RequestFacts facts_;
  const std::shared_ptr<CancelSource> cancel_;
  const bool wants_whole_;
  os::WakeSignal ready_;
  std::vector<AnswerPiece> ring_;     // [capacity + 1]; place i % size holds piece i.
  std::atomic<size_t> written_{0};    // Pieces, by the engine.
  std::atomic<size_t> read_{0};       // Pieces, by the reader.
  std::atomic<bool> waiting_{false};  // The engine wants to know of room.
  std::atomic<int> pushed_tokens_{0};
  std::atomic<bool> writing_{false};  // Somebody pushes, or has ended the stream: then it stays.
  std::atomic<bool> finished_{false};
  RequestResult result_;  // Written before finished_.
};

// A reader's hold on its request: dropped before the end, it cancels (the client is gone). Move-only.
class RequestHandle {
 public:
  explicit RequestHandle(std::shared_ptr<AnswerStream> stream) : stream_(std::move(stream)) {}
  RequestHandle(RequestHandle&&) noexcept = default;
  RequestHandle& operator=(RequestHandle&& other) noexcept;
  ~RequestHandle();

  AnswerStream* operator->() const { return stream_.get(); }
  AnswerStream& operator*() const { return *stream_; }

 private:
  void drop();
  std::shared_ptr<AnswerStream> stream_;
};

// A whole answer.
struct Answer {
  std::string text;
  std::vector<TokenId> tokens;
  std::vector<sampling::Logprobs> logprobs;  // One per token where they were asked for.
  RequestResult result;
};
// Reads a stream to its end. When the call says stop, the request is cancelled (a passed deadline: by policy) and its
// end read, so that what came until then is kept.
Answer read_answer(AnswerStream& stream, const CallContext& call);

}  // namespace infer::engine
