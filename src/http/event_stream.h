// Server-sent events: what a server writes and a client reads
// (https://html.spec.whatwg.org/multipage/server-sent-events.html).
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace infer::http {

struct ServerSentEvent {
  std::string type;  // Empty: "message".
  std::string data;
  std::string id;
};

// "event: x\ndata: ...\n\n". Line ends in the data become several data lines; those in type and id become spaces.
std::string event_text(const ServerSentEvent& event);

// Bytes to events, whatever pieces they come in. Comments and events without data are dropped, as the format says.
// Thread safety: one thread.
class EventStreamParser {
 public:
  explicit EventStreamParser(size_t event_bytes_max) : event_bytes_max_(event_bytes_max) {}

  // The events that `bytes` complete; kCorrupt when one is larger than the limit.
  Result<std::vector<ServerSentEvent>> parse(std::string_view bytes);

 private:
  void end_line(std::vector<ServerSentEvent>& events);

  size_t event_bytes_max_;
  std::string line_;
  bool after_cr_ = false;
  bool is_first_line_ = true;
  bool has_data_ = false;
  ServerSentEvent event_;
  std::string last_id_;
};

}  // namespace infer::http
