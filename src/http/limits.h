// Every limit of a server, with its default. docs/internals/http.md tells what happens when one is hit.
#pragma once

#include <cstddef>

#include "base/time.h"

namespace infer::http {

struct Limits {
  size_t request_line_bytes = 8 << 10;  // 414
  size_t head_bytes = 32 << 10;         // Request line and fields; 431. Also what is read ahead while a request runs.
  size_t head_fields = 100;             // 431
  size_t body_bytes = 16 << 20;         // 413
  size_t all_bodies_bytes = 256 << 20;  // Of all requests being read or handled; 503
  size_t stream_bytes = 256 << 10;      // Unsent bytes of one stream; then the producer is told to wait.
  size_t connections = 16384;           // 503; also bounded by the file descriptors that the system gives.

  Duration head_time = Duration::from_ms(10'000);    // From a request's first byte to the end of its head; 408
  Duration body_time = Duration::from_ms(60'000);    // From there to the end of its body; 408
  Duration idle_time = Duration::from_ms(120'000);   // Between requests; closed without a word.
  Duration write_stall = Duration::from_ms(30'000);  // In which all that waits, or 4 KiB of it, must be taken; cut off.
  Duration linger_time = Duration::from_ms(2'000);   // After a refusal, for the client to read it.
  Duration ping_interval = Duration::from_ms(15'000);  // Of silence on an event stream, then a comment is sent.
};

}  // namespace infer::http
