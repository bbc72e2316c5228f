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
  const RequestExtras extras = read_extras(json, headers, kArrived, Duration::from_seconds(600), false, error);
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

TEST(RequestExtras, WrongValuesAreErrors) {
  for (const char* body :
       {R"({"infer_os":7})", R"({"infer_os":{"deadline_ms":0}})", R"({"infer_os":{"deadline_ms":1e18}})",
        R"({"infer_os":{"priority":"urgent"}})", R"({"infer_os":{"staged":"yes"}})"}) {
    std::optional<ApiError> error;
    (void)read_extras(Json::parse(body).value(), {}, kArrived, Duration::from_seconds(600), false, error);
    ASSERT_TRUE(error) << body;
    EXPECT_EQ(error->param.substr(0, 8), "infer_os");
  }
  http::Headers headers;
  headers.add("X-Request-Timeout", "soon");
  std::optional<ApiError> error;
  (void)read_extras(Json::object(), headers, kArrived, Duration::from_seconds(600), false, error);
  EXPECT_TRUE(error);
}

}  // namespace
}  // namespace infer::api
