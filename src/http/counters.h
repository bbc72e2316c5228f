// What a server counts. Totals only grow.
// Thread safety: any thread; the figures are not of one instant.
#pragma once

#include <atomic>
#include <cstdint>

namespace infer::http {

struct Counters {
  std::atomic<uint64_t> connections_open{0};
  std::atomic<uint64_t> connections_total{0};
  std::atomic<uint64_t> connections_refused_total{0};  // Over the limit.
  std::atomic<uint64_t> requests_total{0};             // With a head that was understood.
  std::atomic<uint64_t> refusals_total{0};             // Answered without a handler, with a status of 400 and above.
  std::atomic<uint64_t> disconnects_total{0};          // Requests whose client went before the answer.
  std::atomic<uint64_t> stalls_total{0};               // Connections cut off because the peer took no bytes.
  std::atomic<uint64_t> body_bytes{0};                 // Of requests under way, reserved.
};

}  // namespace infer::http
