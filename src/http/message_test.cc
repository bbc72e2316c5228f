#include "http/message.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "http/event_stream.h"
#include "http/exchange.h"
#include "http/gate.h"
#include "http/route_table.h"
#include "http/syntax.h"
#include "testing/property.h"

namespace infer::http {
namespace {

TEST(Syntax, DatesAreThoseOfTheStandard) {
  EXPECT_EQ(http_date({784111777000}), "Sun, 06 Nov 1994 08:49:37 GMT");  // RFC 9110 section 5.6.7
  EXPECT_EQ(http_date({0}), "Thu, 01 Jan 1970 00:00:00 GMT");
  EXPECT_EQ(http_date({951782400000}), "Tue, 29 Feb 2000 00:00:00 GMT");
  EXPECT_EQ(http_date({4107542399999}), "Sun, 28 Feb 2100 23:59:59 GMT");
  EXPECT_EQ(http_date({4107542400000}), "Mon, 01 Mar 2100 00:00:00 GMT");
}

TEST(Syntax, NumbersHaveDigitsOnly) {
  EXPECT_EQ(parse_decimal("007"), 7U);
  EXPECT_EQ(parse_decimal("999999999999999999"), 999999999999999999U);
  for (const char* text : {"", "-1", "+1", " 1", "1 ", "0x1", "1e3", "1000000000000000000", "\xEF\xBC\x91"}) {
    EXPECT_EQ(parse_decimal(text), std::nullopt) << text;
  }
  EXPECT_EQ(parse_hex("fFf"), 4095U);
  EXPECT_EQ(parse_hex("1234567890abcdef"), std::nullopt);
}

TEST(Syntax, EscapesAreDecodedOnce) {
  EXPECT_EQ(percent_decode("a%20b%2525+", PlusMeans::kPlus), "a b%25+");
  EXPECT_EQ(percent_decode("a+b", PlusMeans::kSpace), "a b");
  for (const char* text : {"%", "%2", "%zz", "a%", "%00", "%0a", "%0D", "%7f"}) {
    EXPECT_EQ(percent_decode(text, PlusMeans::kPlus), std::nullopt) << text;
  }
}

TEST(Syntax, SecretsAreEqualOnlyWhole) {
  EXPECT_TRUE(equals_in_constant_time("sesame", "sesame"));
  for (const char* guess : {"", "s", "sesam", "sesames", "Sesame", "sesamesesame", "xxxxxx"}) {
    EXPECT_FALSE(equals_in_constant_time("sesame", guess)) << guess;
  }
  EXPECT_FALSE(equals_in_constant_time("", ""));  // No secret lets nobody in.
}

TEST(Headers, HoldNothingThatEndsALine) {
  testing::for_each_case(200, [](Rng& rng) {
    std::string value;
    for (int i = 0; i < 30; ++i) value += static_cast<char>(rng.below(256));
    Headers headers;
    headers.add("X", value);
    for (const char c : std::string(*headers.find("x"))) ASSERT_TRUE(is_field_byte(c));
  });
}

TEST(RouteTable, LiteralsWinOverParameters) {
  RouteTable table;
  std::string called;
  const auto note = [&](const char* name) {
    return [&called, name](const Request&, const ResponseSink&) { called = name; };
  };
  table.add("GET", "/v1/{a}/x", Access::kOpen, note("a"));
  table.add("GET", "/v1/models/{id}", Access::kOpen, note("id"));
  table.add("DELETE", "/v1/models/{id}", Access::kToken, note("delete"));
  table.add("GET", "/v1/models", Access::kOpen, note("models"));
  table.add("GET", "/", Access::kOpen, note("root"));
  struct Case {
    const char* method;
    const char* path;
    const char* pattern;  // Null: no such path.
    std::vector<std::string> values;
  };
  const std::vector<Case> cases{{"GET", "/v1/models", "models", {}},
                                {"GET", "/v1/models/x", "id", {"x"}},
                                {"GET", "/v1/other/x", "a", {"other"}},
                                {"GET", "/v1/models/a%2Fb%20c", "id", {"a/b c"}},
                                {"DELETE", "/v1/models/y", "delete", {"y"}},
                                {"HEAD", "/", "root", {}},
                                {"GET", "/v1/models/", nullptr, {}},
                                {"GET", "/v1//x", nullptr, {}},
                                {"GET", "//", nullptr, {}},
                                {"GET", "/v1/../v1/models", nullptr, {}},
                                {"GET", "/V1/models", nullptr, {}}};
  for (const Case& each : cases) {
    const RouteMatch match = table.match(each.method, each.path);
    ASSERT_EQ(match.route != nullptr, each.pattern != nullptr) << each.path;
    if (!each.pattern) {
      EXPECT_EQ(match.allow, "") << each.path;
      continue;
    }
    match.route->handler({}, ResponseSink(std::make_shared<Exchange>(std::weak_ptr<Waker>(), [] {}, 0)));
    EXPECT_EQ(called, each.pattern);
    ASSERT_EQ(match.parameters.size(), each.values.size());
    for (size_t i = 0; i < each.values.size(); ++i) EXPECT_EQ(match.parameters[i].value, each.values[i]);
  }
  EXPECT_EQ(table.match("POST", "/v1/models/x").route, nullptr);
  EXPECT_EQ(table.match("POST", "/v1/models/x").allow, "GET, HEAD, DELETE, OPTIONS");
}

int source_status(const Gate& gate, std::string_view host, std::string_view origin = "") {
  Headers headers;
  if (!host.empty()) headers.add("Host", host);
  if (!origin.empty()) headers.add("Origin", origin);
  const auto refusal = gate.check_source(headers);
  return refusal ? refusal->status : 200;
}

TEST(Gate, AnswersToItsOwnNamesOnly) {
  const Gate gate(GateOptions{{"infer.lan"}, false, "", false});
  for (const char* host :
       {"127.0.0.1", "127.0.0.1:7031", "localhost:1", "LOCALHOST", "[::1]:7031", "[::1]", "infer.lan:80"}) {
    EXPECT_EQ(source_status(gate, host), 200) << host;
  }
  for (const char* host : {"evil.example", "evil.example:7031", "127.0.0.1.evil.example", "localhost.evil.example",
                           "127.0.0.2", "192.168.1.5", "localhost:", "localhost:0", "localhost:99999", "localhost:1:2",
                           "[::1", "[::2]", "0.0.0.0", "127.1"}) {
    EXPECT_EQ(source_status(gate, host), 403) << host;
  }
  EXPECT_EQ(source_status(gate, ""), 400);
  const Gate open(GateOptions{{}, true, "t", true});
  EXPECT_EQ(source_status(open, "192.168.1.5:7031"), 200);
  EXPECT_EQ(source_status(open, "[fe80::1]:7031"), 200);
  EXPECT_EQ(source_status(open, "evil.example"), 403);
  EXPECT_EQ(source_status(open, "1.2.3.4.evil.example"), 403);
}

TEST(Gate, AnswersPagesOfThisMachineOnly) {
  const Gate gate(GateOptions{});
  for (const char* origin :
       {"http://127.0.0.1", "http://127.0.0.1:8080", "http://localhost", "http://localhost:3000"}) {
    EXPECT_EQ(source_status(gate, "localhost", origin), 200) << origin;
    EXPECT_TRUE(is_local_origin(origin));
  }
  for (const char* origin :
       {"null", "https://localhost", "http://localhost.evil.example", "http://localhost@evil.example",
        "http://evil.example", "http://127.0.0.1.evil.example", "http://localhost:", "file://",
        "http://localhost:80:80", "http://localhost/", "HTTP://localhost", "http://"}) {
    EXPECT_EQ(source_status(gate, "localhost", origin), 403) << origin;
  }
  const Gate open(GateOptions{{}, true, "t", true});
  EXPECT_EQ(source_status(open, "192.168.1.5:7031", "http://192.168.1.5:7031"), 200);
  EXPECT_EQ(source_status(open, "192.168.1.5:7031", "http://192.168.1.6:7031"), 403);
}

TEST(Gate, WantsTheTokenWhereItIsNeeded) {
  const auto is_let_in = [](const GateOptions& options, Access access, const char* name, const char* value) {
    Headers headers;
    headers.add(name, value);
    return !Gate(options).check_token(headers, access).has_value();
  };
  const GateOptions local{{}, false, "sesame", false};
  EXPECT_TRUE(is_let_in(local, Access::kOpen, "X", "y"));
  EXPECT_FALSE(is_let_in(local, Access::kToken, "X", "y"));
  EXPECT_TRUE(is_let_in(local, Access::kToken, "X-Inferos-Token", "sesame"));
  EXPECT_TRUE(is_let_in(local, Access::kToken, "Authorization", "bearer sesame"));
  EXPECT_FALSE(is_let_in(local, Access::kToken, "Authorization", "Basic sesame"));
  EXPECT_FALSE(is_let_in(local, Access::kToken, "X-Inferos-Token", "sesam"));
  const GateOptions open{{}, true, "sesame", true};
  EXPECT_FALSE(is_let_in(open, Access::kOpen, "X", "y"));
  EXPECT_TRUE(is_let_in(open, Access::kOpen, "X-Inferos-Token", "sesame"));
  EXPECT_FALSE(is_let_in(GateOptions{}, Access::kToken, "X-Inferos-Token", ""));
}

// The examples of the standard (section 9.2.6 "Interpreting an event stream").
TEST(EventStream, IsReadAsTheStandardSays) {
  const std::string stream =
      "\xEF\xBB\xBF: test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n"
      "data\n\ndata\ndata\n\ndata:YHOO\r\ndata: +2\rdata: 10\n\nevent: add\ndata: 73857293\n\ndata: unfinished";
  const std::vector<ServerSentEvent> expected{
      {"", "first event", "1"}, {"", "second event", ""}, {"", " third event", ""}, {"", "", ""},
      {"", "\n", ""},           {"", "YHOO\n+2\n10", ""}, {"add", "73857293", ""}};
  testing::for_each_case(50, [&](Rng& rng) {
    EventStreamParser parser(100);
    std::vector<ServerSentEvent> events;
    for (size_t at = 0; at < stream.size();) {
      const size_t bytes = std::min<size_t>(1 + rng.below(9), stream.size() - at);
      auto more = parser.parse(std::string_view(stream).substr(at, bytes));
      ASSERT_TRUE(more.has_value());
      events.insert(events.end(), more->begin(), more->end());
      at += bytes;
    }
    ASSERT_EQ(events.size(), expected.size());
    for (size_t i = 0; i < events.size(); ++i) {
      EXPECT_EQ(events[i].type, expected[i].type) << i;
      EXPECT_EQ(events[i].data, expected[i].data) << i;
      EXPECT_EQ(events[i].id, expected[i].id) << i;
    }
  });
}

TEST(EventStream, WhatIsWrittenIsRead) {
  testing::for_each_case(200, [](Rng& rng) {
    std::string data;
    for (uint32_t i = rng.below(30); i > 0; --i) data += "ab:\n \xE3\x81\x82"[rng.below(8)];
    EventStreamParser parser(1000);
    const auto events = parser.parse(event_text({"a\nb", data, "7"}));
    ASSERT_TRUE(events.has_value());
    ASSERT_EQ(events->size(), 1U);
    EXPECT_EQ(events->front().type, "a b");
    EXPECT_EQ(events->front().data, data);
    EXPECT_EQ(events->front().id, "7");
  });
  EventStreamParser small(10);
  EXPECT_EQ(small.parse("data: more than ten bytes").error().code, ErrorCode::kCorrupt);
}

}  // namespace
}  // namespace infer::http
