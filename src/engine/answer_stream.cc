#include "engine/answer_stream.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace infer::engine {

namespace {

// How long a cancellation of the waiting call, which wakes nobody, may go unnoticed.
constexpr Duration kLook = Duration::from_ms(20);

}  // namespace

AnswerStream::AnswerStream(size_t capacity, std::shared_ptr<os::WakeSignal> engine, std::function<void()> on_ready,
                           const RequestFacts& facts, std::shared_ptr<CancelSource> cancel, bool wants_whole)
    : capacity_(capacity),
      engine_(std::move(engine)),
      on_ready_(std::move(on_ready)),
      facts_(facts),
      cancel_(cancel ? std::move(cancel) : std::make_shared<CancelSource>()),
      wants_whole_(wants_whole),
      ring_(capacity + 1) {
  INFER_CHECK(capacity > 0);
}

std::optional<AnswerPiece> AnswerStream::take() {
  if (!has_piece()) return std::nullopt;
  const size_t at = read_.load(std::memory_order_relaxed);
  AnswerPiece piece = std::move(ring_[at % ring_.size()]);
  read_.store(at + 1);  // In one order with waiting_: either the engine sees the room or this sees that it waits.
  if (waiting_.load() && waiting_.exchange(false)) engine_->notify();
  return piece;
}

const RequestResult& AnswerStream::result() const {
  INFER_CHECK(finished());
  return result_;
}

Status AnswerStream::wait(const CallContext& call) {
  while (!finished() && !has_piece()) {
    INFER_TRY(call.check("waiting for the answer"));
    wait_until(std::min(call.deadline.when(), call.clock.now() + kLook));
  }
  return {};
}

void AnswerStream::wait_until(Instant when) {
  if (!finished() && !has_piece()) ready_.wait_until(when);
}

void AnswerStream::cancel(CancelReason reason) {
  cancel_->cancel(reason);
  engine_->notify();
}

bool AnswerStream::has_room() {
  const auto is_full = [this] { return written_.load(std::memory_order_relaxed) - read_.load() >= capacity_; };
  if (!is_full()) return true;
  waiting_.store(true);
  return !is_full();
}

void AnswerStream::push(AnswerPiece piece) {
  if (!begin_writing()) return;
  const size_t at = written_.load(std::memory_order_relaxed);
  INFER_CHECK(at - read_.load(std::memory_order_acquire) < ring_.size());
  if (piece.token != kNoToken) pushed_tokens_.fetch_add(1, std::memory_order_relaxed);
  ring_[at % ring_.size()] = std::move(piece);
  written_.store(at + 1, std::memory_order_release);
  writing_.store(false, std::memory_order_release);
  unannounced_ = true;
}

void AnswerStream::announce() {
  if (!unannounced_ || (wants_whole_ && room() > capacity_ / 2)) return;
  unannounced_ = false;
  if (has_piece()) wake_reader();
}

bool AnswerStream::finish(RequestResult result) {
  if (!begin_writing()) return false;
  result_ = std::move(result);
  finished_.store(true, std::memory_order_release);
  wake_reader();
  return true;
}

void AnswerStream::wake_reader() {
  ready_.notify();
  if (on_ready_) on_ready_();
}

RequestHandle& RequestHandle::operator=(RequestHandle&& other) noexcept {
  if (this != &other) {
    drop();
    stream_ = std::move(other.stream_);
  }
  return *this;
}

RequestHandle::~RequestHandle() { drop(); }

void RequestHandle::drop() {
  if (stream_ && !stream_->finished()) stream_->cancel(CancelReason::kClientGone);
}

Answer read_answer(AnswerStream& stream, const CallContext& call) {
  Answer answer;
  bool stopped = false;
  while (true) {
    const bool last = stream.finished();  // Before looking for pieces: none comes after.
    while (std::optional<AnswerPiece> piece = stream.take()) {
      answer.text += piece->text;
      if (piece->token != kNoToken) answer.tokens.push_back(piece->token);
      if (piece->logprobs) answer.logprobs.push_back(std::move(*piece->logprobs));
    }
    if (last) break;
    if (!stopped && !stream.wait(call)) {
      stopped = true;
      stream.cancel(call.cancel.cancelled() ? call.cancel.reason() : CancelReason::kPolicy);
    }
    // The engine ends a cancelled request within a part of a step, so that this does not last.
    if (stopped) stream.wait_until(call.clock.now() + kLook);
  }
  answer.result = stream.result();
  return answer;
}

}  // namespace infer::engine
