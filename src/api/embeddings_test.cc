#include "api/embeddings.h"

#include <gtest/gtest.h>

namespace infer::api {
namespace {

// RFC 4648, section 10.
TEST(Embeddings, BytesBecomeBase64) {
  const std::pair<std::string_view, std::string_view> kCases[] = {{"", ""},
                                                                  {"f", "Zg=="},
                                                                  {"fo", "Zm8="},
                                                                  {"foo", "Zm9v"},
                                                                  {"foob", "Zm9vYg=="},
                                                                  {"fooba", "Zm9vYmE="},
                                                                  {"foobar", "Zm9vYmFy"}};
  for (const auto& [bytes, text] : kCases) EXPECT_EQ(base64_text(bytes), text);
}

TEST(Embeddings, Base64IsOfLittleEndianFloats) {
  EmbeddingAnswer answer("m", 1, true);
  engine::RequestResult result;
  result.embedding = {1.0f, -2.0f};  // 0x3F800000, 0xC0000000
  result.prompt_tokens = 3;
  (void)answer.end_choice(0, result);
  EXPECT_EQ(
      answer.whole().dump(),
      R"({"object":"list","data":[{"object":"embedding","index":0,"embedding":"AACAPwAAAMA="}],"model":"m","usage":{"prompt_tokens":3,"total_tokens":3}})");
}

}  // namespace
}  // namespace infer::api
