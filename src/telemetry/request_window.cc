#include "telemetry/request_window.h"

#include <algorithm>

namespace infer::telemetry {

void RequestWindow::add(const RequestTimes& times) {
  Place& place = places_[next_.fetch_add(1, std::memory_order_relaxed) % kPlaces];
  uint64_t version = place.version.load(std::memory_order_relaxed);
  if (version % 2 != 0 || !place.version.compare_exchange_strong(version, version + 1, std::memory_order_acquire,
                                                                 std::memory_order_relaxed)) {
    lost_.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  std::atomic_thread_fence(std::memory_order_release);
  const auto ns = [](const std::optional<Duration>& value) {
    return value ? std::max<int64_t>(0, value->ns()) : kNone;
  };
  place.ended_ns.store(times.ended.ns(), std::memory_order_relaxed);
  place.latency_ns.store(ns(times.latency), std::memory_order_relaxed);
  place.first_token_ns.store(ns(times.first_token), std::memory_order_relaxed);
  place.version.store(version + 2, std::memory_order_release);
}

std::vector<RequestTimes> RequestWindow::since(Instant since) const {
  std::vector<RequestTimes> found;
  const auto duration = [](int64_t ns) { return ns == kNone ? std::nullopt : std::optional(Duration::from_ns(ns)); };
  for (const Place& place : places_) {
    const uint64_t before = place.version.load(std::memory_order_acquire);
    if (before == 0 || before % 2 != 0) continue;  // One that is being written has just ended: the next look sees it.
    const int64_t ended = place.ended_ns.load(std::memory_order_relaxed);
    const int64_t latency = place.latency_ns.load(std::memory_order_relaxed);
    const int64_t first_token = place.first_token_ns.load(std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_acquire);
    if (place.version.load(std::memory_order_relaxed) != before) continue;
    if (ended < since.ns()) continue;
    found.push_back({Instant::from_ns(ended), duration(latency), duration(first_token)});
  }
  return found;
}

}  // namespace infer::telemetry
