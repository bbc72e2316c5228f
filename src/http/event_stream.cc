#include "http/event_stream.h"

#include <algorithm>
#include <utility>

#include "base/format.h"
#include "http/response_sink.h"

namespace infer::http {

namespace {

std::string on_one_line(std::string_view text) {
  std::string line(text);
  std::replace_if(line.begin(), line.end(), [](char c) { return c == '\n' || c == '\r' || c == '\0'; }, ' ');
  return line;
}

}  // namespace

StreamHead event_stream_head() {
  StreamHead head;
  head.headers.add("Content-Type", "text/event-stream; charset=utf-8");
  head.headers.add("Cache-Control", "no-cache");
  head.headers.add("X-Accel-Buffering", "no");  // For nginx in front of us.
  head.ping = ": ping\n\n";
  return head;
}

std::string event_text(const ServerSentEvent& event) {
  std::string text;
  text.reserve(event.data.size() + 32);
  if (!event.type.empty()) text += "event: " + on_one_line(event.type) + "\n";
  if (!event.id.empty()) text += "id: " + on_one_line(event.id) + "\n";
  std::string_view rest = event.data;
  while (true) {
    const size_t end = std::min(rest.find_first_of("\r\n"), rest.size());
    text.append("data: ").append(rest.substr(0, end)).append("\n");
    if (end == rest.size()) break;
    rest.remove_prefix(end + (rest.substr(end, 2) == "\r\n" ? 2 : 1));
  }
  return text + "\n";
}

Result<std::vector<ServerSentEvent>> EventStreamParser::parse(std::string_view bytes) {
  std::vector<ServerSentEvent> events;
  for (const char c : bytes) {
    const bool is_second_half = after_cr_ && c == '\n';
    after_cr_ = c == '\r';
    if (is_second_half) continue;
    if (c == '\n' || c == '\r') {
      end_line(events);
      line_.clear();
      continue;
    }
    if (line_.size() + event_.data.size() >= event_bytes_max_) {
      return Error{ErrorCode::kCorrupt, format("an event of the stream is larger than {} bytes", event_bytes_max_)};
    }
    line_ += c;
  }
  return events;
}

void EventStreamParser::end_line(std::vector<ServerSentEvent>& events) {
  std::string_view line = line_;
  if (is_first_line_ && line.starts_with("\xEF\xBB\xBF")) line.remove_prefix(3);
  is_first_line_ = false;
  if (line.empty()) {
    if (has_data_) {
      event_.data.pop_back();  // The line end of the last data line.
      event_.id = last_id_;
      events.push_back(std::move(event_));
    }
    event_ = {};
    has_data_ = false;
    return;
  }
  const size_t colon = std::min(line.find(':'), line.size());
  const std::string_view field = line.substr(0, colon);
  std::string_view value = line.substr(std::min(colon + 1, line.size()));
  if (value.starts_with(' ')) value.remove_prefix(1);
  if (field == "data") {
    event_.data.append(value).append("\n");
    has_data_ = true;
  } else if (field == "event") {
    event_.type = value;
  } else if (field == "id" && value.find('\0') == std::string_view::npos) {
    last_id_ = value;
  }
}

}  // namespace infer::http
