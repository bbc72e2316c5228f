// Fuzzes a server's connection. The first byte says how the rest is cut into pieces; every piece is received, time
// passes between some, and the peer takes what it is sent in pieces too. The handlers of some paths answer at once,
// stream, answer later or never.
//
// Whatever comes: no crash, every byte sent is part of a response, no handler sees a control byte in what could reach a
// log, reserved bytes are given back, and the connection ends when its time is up.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "http/event_stream.h"
#include "http/response_reader.h"
#include "http/session_driver.h"
#include "http/syntax.h"

namespace infer::http {
namespace {

void check_request(const Request& request) {
  INFER_CHECK(is_token(request.method));
  INFER_CHECK(std::all_of(request.target.begin(), request.target.end(), [](char c) { return c > 0x20 && c < 0x7F; }));
  for (const Headers::Field& field : request.headers.fields()) {
    INFER_CHECK(is_token(field.name));
    INFER_CHECK(std::all_of(field.value.begin(), field.value.end(), is_field_byte));
  }
  for (const Parameter& parameter : request.parameters) {
    INFER_CHECK(std::all_of(parameter.value.begin(), parameter.value.end(), is_field_byte));
  }
  INFER_CHECK(request.headers.count("Content-Length") + request.headers.count("Transfer-Encoding") <= 1);
  INFER_CHECK(request.body.size() <= 300);
}

Site make_site(std::vector<ResponseSink>& later) {
  Site site;
  site.limits.request_line_bytes = 100;
  site.limits.head_bytes = 400;
  site.limits.head_fields = 8;
  site.limits.body_bytes = 300;
  site.limits.all_bodies_bytes = 350;
  site.limits.stream_bytes = 100;
  site.gate = Gate(GateOptions{{"a"}, true, "t", false});
  site.routes.add("POST", "/e", Access::kOpen, [](Request request, const ResponseSink& sink) {
    check_request(request);
    sink.reply(make_response(200, "text/plain", std::move(request.body)));
  });
  site.routes.add("GET", "/s/{x}", Access::kOpen, [](const Request& request, const ResponseSink& sink) {
    check_request(request);
    StreamHead head = event_stream_head();
    head.headers.add("X-Echo", request.parameter("x") + request.query_value("q").value_or("-"));
    sink.start_stream(std::move(head));
    sink.push(event_text({"", request.parameter("x"), ""}));
    sink.finish();
  });
  site.routes.add("GET", "/l", Access::kToken, [&later](const Request& request, const ResponseSink& sink) {
    check_request(request);
    later.push_back(sink);
  });
  return site;
}

// What was sent is a row of responses, one for each that the session reports as answered (`heads`: to HEAD or not).
void check_sent(std::string_view sent, const std::vector<bool>& heads) {
  for (const bool is_head : heads) {
    ResponseReader reader(is_head, 4096, 40, 8192);
    while (!reader.done() && !sent.empty()) {
      INFER_CHECK(reader.receive(sent.substr(0, 1)).has_value());
      sent.remove_prefix(1);
    }
    INFER_CHECK(reader.end().has_value() && reader.head().headers.count("X-Frame-Options") == 1);
  }
}

void run(uint8_t style, std::string_view input) {
  std::vector<ResponseSink> later;
  Site site = make_site(later);
  std::vector<bool> heads;
  site.on_answered = [&](const AccessRecord& record) { heads.push_back(record.method == "HEAD"); };
  SessionDriver driver(site);
  std::string sent;
  const size_t piece = style % 16 == 0 ? input.size() : style % 16;
  for (size_t at = 0; at < input.size() && driver.session().wants_bytes(); at += piece) {
    driver.send(input.substr(at, piece));
    if (style & 0x10) sent += driver.take(7);
    if (style & 0x20) driver.advance(Duration::from_ms(1000));
    if ((style & 0x40) && !later.empty()) later.pop_back();
  }
  if (style & 0x80) driver.session().peer_closed(driver.now());
  driver.run_tasks();
  sent += driver.take_all();
  INFER_CHECK(driver.counters().body_bytes <= site.limits.body_bytes + site.limits.all_bodies_bytes);
  later.clear();  // Dropped: each gets its answer.
  sent += driver.take_all();
  driver.advance(Duration::from_seconds(1000));
  sent += driver.take_all();
  check_sent(sent, heads);
  driver.advance(Duration::from_seconds(1000));
  INFER_CHECK(driver.session().is_closed() && driver.counters().body_bytes == 0);
}

}  // namespace
}  // namespace infer::http

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  infer::http::run(data[0], {reinterpret_cast<const char*>(data) + 1, size - 1});
  return 0;
}
