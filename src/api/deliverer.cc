#include "api/deliverer.h"

#include <algorithm>
#include <utility>

#include "api/delivery.h"

namespace infer::api {

namespace {

// After a look that found pieces, further ones wait for so long. Each look takes the processors from a step for its own
// time, that of the thread that sends, and that of the client, whether it finds the tokens of one step or of two.
constexpr Duration kRest = Duration::from_us(800);

}  // namespace

Result<std::unique_ptr<Deliverer>> Deliverer::start(const Clock& clock, size_t calls_max) {
  auto deliverer = std::unique_ptr<Deliverer>(new Deliverer(clock, calls_max));
  INFER_ASSIGN(deliverer->thread_,
               os::ServiceThread::start([self = deliverer.get()] { self->serve(); }, os::Turns::kShort));
  return deliverer;
}

Deliverer::~Deliverer() {
  inbox_.close();
  stops_ = true;
  bell_->ring();
  thread_.reset();
}

bool Deliverer::take(std::shared_ptr<Call> call) {
  if (under_way_.fetch_add(1) >= calls_max_ || !inbox_.try_push(Item(std::move(call)))) {
    under_way_.fetch_sub(1);
    return false;
  }
  bell_->ring();
  return true;
}

bool Deliverer::cancel(std::string id, http::ResponseSink sink) {
  const bool taken = inbox_.try_push(CancelOrder{std::move(id), std::move(sink)});
  if (taken) bell_->ring();
  return taken;
}

std::function<void()> Deliverer::waker() const {
  return [bell = bell_] { bell->ring(); };
}

std::function<void()> Deliverer::piece_waker() const {
  return [bell = bell_] { bell->ring_for_piece(); };
}

void Deliverer::take_in() {
  std::vector<Item> items;
  inbox_.take_all(items);
  for (Item& item : items) {
    if (auto* call = std::get_if<std::shared_ptr<Call>>(&item)) {
      calls_.push_back(std::move(*call));
    } else {
      obey(std::get<CancelOrder>(item));
    }
  }
}

void Deliverer::obey(const CancelOrder& order) {
  int found = 0;
  for (const std::shared_ptr<Call>& call : calls_) {
    if (call->id != order.id) continue;
    call->cancel.cancel(CancelReason::kUser);
    ++found;
  }
  if (found == 0) {
    order.sink.reply(error_response({.status = 404,
                                     .message = "no request of that id is under way; it may have ended already",
                                     .param = "id",
                                     .code = "request_not_found"}));
    return;
  }
  const Json body = Json::object().set("id", order.id).set("object", "request").set("cancelled", true);
  order.sink.reply(http::make_response(200, "application/json", body.dump()));
}

void Deliverer::deliver_all() {
  const Instant now = clock_.now();
  bool pieces = false;
  const auto is_over = [now, &pieces](const std::shared_ptr<Call>& call) {
    const Delivery done = deliver(*call, now);
    pieces = pieces || done == Delivery::kPieces;
    return done == Delivery::kOver;
  };
  const size_t before = calls_.size();
  std::erase_if(calls_, is_over);
  under_way_.fetch_sub(before - calls_.size());
  if (pieces) rests_until_ = now + kRest;
}

// Until something has to be done.
void Deliverer::wait() {
  Instant look_at = Instant::never();
  for (const std::shared_ptr<Call>& call : calls_) {
    if (!call->has_begun) look_at = std::min(look_at, call->deadline().when());
  }
  if (clock_.now() < rests_until_) {
    bell_->wait_until(std::min(look_at, rests_until_));
  } else if (bell_->listen()) {
    bell_->wait_until(look_at);
  }
}

void Deliverer::serve() {
  while (!stops_) {
    bell_->rest();
    take_in();
    deliver_all();
    wait();
  }
  take_in();
  for (const std::shared_ptr<Call>& call : calls_) {
    reject(*call, shutting_down());
  }
  calls_.clear();
}

}  // namespace infer::api
