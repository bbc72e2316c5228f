// A value that one thread replaces now and then and any thread may read, without a lock: a reader never holds up the
// writer, and reads again when the value changed under its eyes.
//
// A sequence lock whose data are relaxed atomics, so that reading beside a write is defined (Boehm, "Can seqlocks get
// along with programming language memory models?", 2012).
// Thread safety: store() from one thread, load() from any.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace infer {

template <class T>
class Published {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  explicit Published(const T& value = {}) { store(value); }

  void store(const T& value) {
    std::array<uint64_t, kWords> copy{};
    std::memcpy(copy.data(), &value, sizeof(T));
    const uint64_t version = version_.load(std::memory_order_relaxed);
    version_.store(version + 1, std::memory_order_relaxed);  // Odd: being written.
    std::atomic_thread_fence(std::memory_order_release);
    for (size_t i = 0; i < kWords; ++i) words_[i].store(copy[i], std::memory_order_relaxed);
    version_.store(version + 2, std::memory_order_release);
  }

  T load() const {
    std::array<uint64_t, kWords> copy;
    uint64_t before = 0, after = 0;
    do {
      before = version_.load(std::memory_order_acquire);
      for (size_t i = 0; i < kWords; ++i) copy[i] = words_[i].load(std::memory_order_relaxed);
      std::atomic_thread_fence(std::memory_order_acquire);
      after = version_.load(std::memory_order_relaxed);
    } while (before != after || before % 2 != 0);
    T value;
    std::memcpy(static_cast<void*>(&value), copy.data(), sizeof(T));
    return value;
  }

 private:
  static constexpr size_t kWords = (sizeof(T) + sizeof(uint64_t) - 1) / sizeof(uint64_t);
  std::atomic<uint64_t> version_{0};
  std::array<std::atomic<uint64_t>, kWords> words_{};
};

}  // namespace infer
