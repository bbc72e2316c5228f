// Another parser as a judge: what we accept, Boost.Beast must read as the same request. A disagreement would mean that
// a proxy could see other requests than we do.
#include <gtest/gtest.h>

#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <optional>
#include <string>
#include <vector>

#include "http/session_driver.h"
#include "http/syntax.h"
#include "testing/property.h"

namespace infer::http {
namespace {

namespace beast = boost::beast;

// Half valid, half random: pieces in any order, then some bytes changed. No trailers: Beast counts them as fields of
// the head, we drop them.
std::string random_request(Rng& rng) {
  const auto pick = [&](const std::vector<std::string>& choices) {
    return choices[rng.below(static_cast<uint32_t>(choices.size()))];
  };
  std::string text = pick({"GET", "POST", "PUT", "M-SEARCH", "get"}) + " " +
                     pick({"/a", "/b?x=1", "/%41", "http://h/a", "/", "*", "/a//b"}) + " HTTP/1." +
                     pick({"1", "1", "0"}) + "\r\n" + pick({"Host: h\r\n", "host:h\r\n", "HOST: h \r\n"});
  for (uint32_t i = rng.below(4); i > 0; --i) {
    text += pick({"A: b\r\n", "Content-Length: 3\r\n", "Content-Length: 0\r\n", "Transfer-Encoding: chunked\r\n",
                  "transfer-encoding:chunked\r\n", "X:\t y z\t\r\n", "Empty:\r\n", "Connection: close\r\n"});
  }
  text += "\r\n" + pick({"", "abc", "3\r\nabc\r\n0\r\n\r\n", "1;x=y\r\na\r\n00\r\n\r\n"});
  if (rng.below(2) == 0) {
    for (uint32_t i = rng.below(3); i > 0; --i) {
      text[rng.below(static_cast<uint32_t>(text.size()))] =
          pick({" ", "\r", "\n", ":", "0", "9", "a", "\t", ";", "%"})[0];
    }
  }
  return text;
}

TEST(BeastAgreement, WhatWeAcceptIsTheSameRequestForBeast) {
  std::optional<Request> ours;
  Site site;
  site.gate = Gate(GateOptions{{"h"}, false, "", false});
  const auto take = [&](Request request, const ResponseSink& sink) {
    if (!ours) ours = std::move(request);
    sink.reply(make_response(200, "text/plain", ""));
  };
  for (const char* method : {"GET", "POST", "PUT", "M-SEARCH", "get"}) {
    for (const char* path : {"/", "/{x}", "/{x}/{y}"}) site.routes.add(method, path, Access::kOpen, take);
  }
  int accepted = 0;
  testing::for_each_case(20'000, [&](Rng& rng) {
    const std::string text = random_request(rng);
    SCOPED_TRACE(text);
    ours.reset();
    SessionDriver driver(site);
    driver.exchange(text);
    if (!ours) return;
    ++accepted;
    beast::http::request_parser<beast::http::string_body> judge;
    judge.eager(true);
    beast::error_code error;
    judge.put(boost::asio::buffer(text), error);
    ASSERT_FALSE(error) << error.message();
    ASSERT_TRUE(judge.is_done());
    const auto& theirs = judge.get();
    EXPECT_EQ(ours->method, theirs.method_string());
    EXPECT_EQ(ours->target, theirs.target());
    EXPECT_EQ(ours->body, theirs.body());
    size_t fields = 0;
    for (const auto& field : theirs) {
      ++fields;
      EXPECT_EQ(ours->headers.count(field.name_string()), theirs.count(field.name_string()));
    }
    EXPECT_EQ(ours->headers.fields().size(), fields);
  });
  EXPECT_GT(accepted, 2000);  // Else the generator shows nothing.
}

}  // namespace
}  // namespace infer::http
