#include "api/text_event.h"

#include <gtest/gtest.h>

namespace infer::api {
namespace {

TEST(TextEvent, IsTheEventWithTheTextInItsPlace) {
  const TextEvent event("data: {\"id\":\"\\u0001\",\"text\":\"\\u0001\",\"end\":null}\n\n");
  EXPECT_EQ(event.with("a \"b\"\n"), "data: {\"id\":\"\\u0001\",\"text\":\"a \\\"b\\\"\\n\",\"end\":null}\n\n");
  EXPECT_EQ(event.with(""), "data: {\"id\":\"\\u0001\",\"text\":\"\",\"end\":null}\n\n");
  EXPECT_EQ(event.with("\xff"), "data: {\"id\":\"\\u0001\",\"text\":\"\xEF\xBF\xBD\",\"end\":null}\n\n");
}

}  // namespace
}  // namespace infer::api
