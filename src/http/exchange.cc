#include "http/exchange.h"

#include <algorithm>
#include <utility>

namespace infer::http {

struct Exchange::Node {
  Item item;
  Node* older = nullptr;
};

Exchange::Exchange(std::weak_ptr<Waker> waker, std::function<void()> on_items, size_t stream_bytes_max)
    : waker_(std::move(waker)), on_items_(std::move(on_items)), stream_bytes_max_(stream_bytes_max) {
  // Nothing said, but the list is not empty: while the handler runs nobody need wake the thread that it runs on, which
  // looks into the list when the handler returns.
  newest_ = std::unique_ptr<Node>(new Node{Answer(std::string())}).release();
}

Exchange::~Exchange() {
  for (Node* next = newest_.load(std::memory_order_acquire); next != nullptr;) {
    const std::unique_ptr<Node> node(next);
    next = node->older;
  }
}

// The list grows at its front. Only the writer that finds it empty wakes the loop: the others' items lie behind that
// call. Without a loop there is no connection either, and a callback is answered here.
void Exchange::say(Item item) {
  auto node = std::unique_ptr<Node>(new Node{std::move(item)});
  node->older = newest_.load(std::memory_order_relaxed);
  while (!newest_.compare_exchange_weak(node->older, node.get(), std::memory_order_acq_rel)) {
  }
  const bool was_empty = node.release()->older == nullptr;
  if (!was_empty) return;
  if (const std::shared_ptr<Waker> waker = waker_.lock()) {
    waker->post([self = shared_from_this()] { self->settle(); });
  } else {
    settle();
  }
}

void Exchange::settle() {
  if (is_gone()) {
    (void)take();
  } else {
    on_items_();
  }
}

std::vector<Exchange::Answer> Exchange::take() {
  std::vector<Answer> answers;
  std::vector<DisconnectCallback> late;
  Node* next = newest_.exchange(nullptr, std::memory_order_acq_rel);
  while (next != nullptr) {
    const std::unique_ptr<Node> node(next);
    next = node->older;
    if (auto* answer = std::get_if<Answer>(&node->item)) {
      if (const auto* bytes = std::get_if<std::string>(answer)) taken_bytes_ += bytes->size();
      answers.push_back(std::move(*answer));
    } else if (auto* writable = std::get_if<WritableCallback>(&node->item)) {
      if (!on_writable_) on_writable_ = std::move(*writable);
    } else if (is_gone()) {
      late.push_back(std::get<DisconnectCallback>(std::move(node->item)));
    } else if (!on_disconnect_) {
      on_disconnect_ = std::get<DisconnectCallback>(std::move(node->item));
    }
  }
  std::reverse(answers.begin(), answers.end());
  for (const DisconnectCallback& callback : late) {
    if (gone_reason_ != CancelReason::kNone) callback(gone_reason_);
  }
  call_if_writable();
  return answers;
}

void Exchange::close() {
  gone_.store(true, std::memory_order_release);
  on_disconnect_ = nullptr;
  on_writable_ = nullptr;
}

void Exchange::disconnect(CancelReason reason) {
  if (is_gone()) return;
  (void)take();  // A callback may lie in the list still.
  gone_reason_ = reason;
  const DisconnectCallback callback = std::move(on_disconnect_);
  close();
  if (callback) callback(reason);
}

void Exchange::set_unsent(size_t bytes) {
  // In this order, so that a byte is never counted nowhere.
  unsent_bytes_ = bytes;
  queued_bytes_ -= std::exchange(taken_bytes_, 0);
  call_if_writable();
}

void Exchange::call_if_writable() {
  if (!on_writable_ || queued_bytes_ + unsent_bytes_ > stream_bytes_max_ / 2) return;
  if (producer_waits_.exchange(false)) on_writable_();
}

bool Exchange::advance(Stage from, Stage to) { return !is_gone() && stage_.compare_exchange_strong(from, to); }

bool Exchange::reply(Response response) {
  if (!advance(Stage::kOpen, Stage::kAnswered)) return false;
  say(Answer(std::move(response)));
  return true;
}

bool Exchange::start_stream(StreamHead head) {
  if (!advance(Stage::kOpen, Stage::kStreaming)) return false;
  say(Answer(std::move(head)));
  return true;
}

// Something always fits into an empty buffer, or what is larger than the buffer could never be sent.
bool Exchange::has_room(size_t bytes) const {
  const size_t held = queued_bytes_ + unsent_bytes_;
  return held == 0 || held + bytes <= stream_bytes_max_;
}

PushResult Exchange::push(std::string bytes) {
  if (is_gone() || stage_ != Stage::kStreaming) return PushResult::kGone;
  if (bytes.empty()) return PushResult::kAccepted;
  if (!has_room(bytes.size())) {
    // The flag first, then a second look: either we see the room that the connection made, or it sees the flag.
    producer_waits_ = true;
    if (!has_room(bytes.size())) return PushResult::kFull;
  }
  queued_bytes_ += bytes.size();
  say(Answer(std::move(bytes)));
  return PushResult::kAccepted;
}

void Exchange::finish() {
  if (advance(Stage::kStreaming, Stage::kAnswered)) say(Answer(Finish{}));
}

void Exchange::abandon() {
  if (stage_.exchange(Stage::kAnswered) != Stage::kAnswered) say(Answer(Abandon{}));
}

void Exchange::on_disconnect(DisconnectCallback callback) { say(std::move(callback)); }

void Exchange::on_writable(WritableCallback callback) { say(std::move(callback)); }

// ---- The handle
// ------------------------------------------------------------------------------------------------------

struct ResponseSink::Handle {
  std::shared_ptr<Exchange> exchange;
  ~Handle() { exchange->abandon(); }
};

ResponseSink::ResponseSink(std::shared_ptr<Exchange> exchange) : handle_(new Handle{std::move(exchange)}) {}

bool ResponseSink::reply(Response response) const { return handle_->exchange->reply(std::move(response)); }
bool ResponseSink::start_stream(StreamHead head) const { return handle_->exchange->start_stream(std::move(head)); }
PushResult ResponseSink::push(std::string bytes) const { return handle_->exchange->push(std::move(bytes)); }
void ResponseSink::finish() const { handle_->exchange->finish(); }
bool ResponseSink::is_client_gone() const { return handle_->exchange->is_gone(); }

void ResponseSink::on_disconnect(DisconnectCallback callback) const {
  handle_->exchange->on_disconnect(std::move(callback));
}

void ResponseSink::on_writable(std::function<void()> callback) const {
  handle_->exchange->on_writable(std::move(callback));
}

}  // namespace infer::http
