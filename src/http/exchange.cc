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

Exchange::~Exchange() { (void)pop_all(); }

// The list grows at its front. Only the writer that finds it empty wakes the loop: the others' items lie behind that
// call. Without a loop there is no connection either, and a callback is answered here.
void Exchange::say(Item item) {
  auto node = std::unique_ptr<Node>(new Node{std::move(item)});
  Node* const mine = node.release();
  Node* older = newest_.load(std::memory_order_relaxed);
  do {
    mine->older = older;
  } while (!newest_.compare_exchange_weak(older, mine, std::memory_order_acq_rel));
  // From here on the node may be read and gone already.
  if (older != nullptr && !waker_.expired()) return;
  if (const std::shared_ptr<Waker> waker = waker_.lock()) {
    waker->post([self = shared_from_this()] {
      if (self->is_gone()) {
        self->answer_late();
      } else {
        self->on_items_();
      }
    });
  } else {
    answer_late();
  }
}

// In the order in which they were said.
std::vector<Exchange::Item> Exchange::pop_all() {
  std::vector<Item> items;
  Node* next = newest_.exchange(nullptr, std::memory_order_acq_rel);
  while (next != nullptr) {
    const std::unique_ptr<Node> node(next);
    next = node->older;
    items.push_back(std::move(node->item));
  }
  std::reverse(items.begin(), items.end());
  return items;
}

// The connection is gone, perhaps the loop too: this may be any thread. Who asks to be told is told.
void Exchange::answer_late() {
  const int ending = ending_.load(std::memory_order_acquire);
  const CancelReason reason = ending == kOpen ? CancelReason::kShutdown : static_cast<CancelReason>(ending);
  for (const Item& item : pop_all()) {
    const auto* callback = std::get_if<DisconnectCallback>(&item);
    if (callback && reason != CancelReason::kNone) (*callback)(reason);
  }
}

std::vector<Exchange::Answer> Exchange::take() {
  std::vector<Answer> answers;
  for (Item& item : pop_all()) {
    if (auto* answer = std::get_if<Answer>(&item)) {
      if (const auto* bytes = std::get_if<std::string>(answer)) taken_bytes_ += bytes->size();
      answers.push_back(std::move(*answer));
    } else if (auto* writable = std::get_if<WritableCallback>(&item)) {
      on_writable_ = std::move(*writable);
    } else {
      on_disconnect_ = std::get<DisconnectCallback>(std::move(item));
    }
  }
  call_if_writable();
  return answers;
}

void Exchange::end(CancelReason reason) {
  ending_.store(static_cast<int>(reason), std::memory_order_release);
  on_disconnect_ = nullptr;
  on_writable_ = nullptr;
}

void Exchange::close() {
  if (!is_gone()) end(CancelReason::kNone);
}

void Exchange::disconnect(CancelReason reason) {
  if (is_gone()) return;
  (void)take();  // A callback may lie in the list still.
  const DisconnectCallback callback = std::move(on_disconnect_);
  end(reason);
  answer_late();  // One may have come in between.
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
  explicit Handle(std::shared_ptr<Exchange> an_exchange) : exchange(std::move(an_exchange)) {}
  ~Handle() { exchange->abandon(); }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;

  std::shared_ptr<Exchange> exchange;
};

ResponseSink::ResponseSink(std::shared_ptr<Exchange> exchange)
    : handle_(std::make_shared<Handle>(std::move(exchange))) {}

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
