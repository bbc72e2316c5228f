#include "api/request_extras.h"

#include <gtest/gtest.h>

namespace infer::api {
namespace {

constexpr Instant kArrived = Instant::from_ns(5'000'000'000);

double deadline_ms(const std::string& body, const std::vector<std::pair<std::string, std::string>>& fields) {
  http::Headers headers;
  for (const auto& [name, value] : fields) headers.add(name, value);
  std::optional<ApiError> error;
  const Json json = Json::parse(body).value();
  const RequestExtras extras = read_extras(json, headers, kArrived, {}, error);
  EXPECT_FALSE(error) << error->message;
  return (extras.limits.total.when() - kArrived).ms();
}

TEST(RequestExtras, TheEarliestDeadlineCounts) {
  const char* body = R"({"infer_os":{"deadline_ms":30000}})";
  EXPECT_EQ(deadline_ms("{}", {}), 600'000);
  EXPECT_EQ(deadline_ms(body, {}), 30'000);
  // Headers: a little before the client gives up.
  EXPECT_EQ(deadline_ms("{}", {{"X-Request-Timeout", "10"}}), 9'800);
  EXPECT_EQ(deadline_ms("{}", {{"X-Request-Timeout", "500ms"}}), 480);
  EXPECT_EQ(deadline_ms("{}", {{"x-stainless-timeout", "600"}}), 599'500);
  EXPECT_EQ(deadline_ms("{}", {{"x-stainless-read-timeout", "60.0"}}), 59'500);
  EXPECT_EQ(deadline_ms(body, {{"X-Stainless-Timeout", "10"}}), 9'800);
  EXPECT_EQ(deadline_ms(body, {{"X-Stainless-Timeout", "600"}}), 30'000);
  EXPECT_EQ(deadline_ms("{}", {{"X-Stainless-Timeout", "NOT_GIVEN"}}), 600'000);
}

TEST(RequestExtras, WhatIsNotSaidIsTheServers) {
  const RequestDefaults defaults{.deadline = Duration::from_ms(900),
                                 .first_token = Duration::from_ms(30),
                                 .stall = Duration::from_ms(20),
                                 .staged = true};
  std::optional<ApiError> error;
  const RequestExtras nothing = read_extras(Json::object(), {}, kArrived, defaults, error);
  EXPECT_EQ((nothing.limits.total.when() - kArrived).ms(), 900);
  EXPECT_EQ(nothing.limits.first_token->ms(), 30);
  EXPECT_EQ(nothing.limits.stall->ms(), 20);
  EXPECT_TRUE(nothing.staged);
  const Json said = Json::parse(R"({"infer_os":{"first_token_ms":7,"staged":false}})").value();
  const RequestExtras some = read_extras(said, {}, kArrived, defaults, error);
  EXPECT_EQ(some.limits.first_token->ms(), 7);
  EXPECT_EQ(some.limits.stall->ms(), 20);
  EXPECT_FALSE(some.staged);
  EXPECT_FALSE(error);
}

TEST(RequestExtras, WrongValuesAreErrors) {
  for (const char* body :
       {R"({"infer_os":7})", R"({"infer_os":{"deadline_ms":0}})", R"({"infer_os":{"deadline_ms":1e18}})",
        R"({"infer_os":{"priority":"urgent"}})", R"({"infer_os":{"staged":"yes"}})"}) {
    std::optional<ApiError> error;
    (void)read_extras(Json::parse(body).value(), {}, kArrived, {}, error);
    ASSERT_TRUE(error) << body;
    EXPECT_EQ(error->param.substr(0, 8), "infer_os");
  }
  http::Headers headers;
  headers.add("X-Request-Timeout", "soon");
  std::optional<ApiError> error;
  (void)read_extras(Json::object(), headers, kArrived, {}, error);
  EXPECT_TRUE(error);
}

}  // namespace
}  // namespace infer::api
