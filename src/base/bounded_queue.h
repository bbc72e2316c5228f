// A queue of limited length that many threads fill and one empties: how work reaches a thread that owns its state.
//
// The lock is held for a few moves, never while anybody computes or waits, so that nobody waits for a consumer that is
// busy. Invariants: at most capacity() items; what was pushed before close() is still taken.
// Thread safety: all of it.
#pragma once

#include <cstddef>
#include <mutex>
#include <utility>
#include <vector>

namespace infer {

template <class T>
class BoundedQueue {
 public:
  explicit BoundedQueue(size_t capacity) : capacity_(capacity) { items_.reserve(capacity); }

  size_t capacity() const { return capacity_; }

  // False, and the item stays with the caller, when the queue is full or closed.
  bool try_push(T&& item) {
    const std::lock_guard lock(mutex_);
    if (closed_ || items_.size() >= capacity_) return false;
    items_.push_back(std::move(item));
    return true;
  }
  // Appends everything to `into`, in the order in which it was pushed.
  void take_all(std::vector<T>& into) {
    const std::lock_guard lock(mutex_);
    for (T& item : items_) into.push_back(std::move(item));
    items_.clear();
  }
  // Nothing more is taken in.
  void close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }
  bool closed() const {
    const std::lock_guard lock(mutex_);
    return closed_;
  }

 private:
  const size_t capacity_;
  mutable std::mutex mutex_;
  std::vector<T> items_;  // Guarded by mutex_, and so is closed_.
  bool closed_ = false;
};

}  // namespace infer
