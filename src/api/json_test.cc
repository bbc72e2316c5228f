#include "api/json.h"

#include <gtest/gtest.h>

#include <limits>

#include "testing/property.h"

namespace infer::api {
namespace {

TEST(Json, ObjectsKeepTheOrderOfTheirKeysAndAKeyOccursOnce) {
  Json json = Json::object();
  json.set("z", 1).set("a", "x").set("z", true);
  EXPECT_EQ(json.dump(), R"({"z":true,"a":"x"})");
}

TEST(Json, AnIndentedDocumentHasOneMemberPerLineAndPlainListsOnOne) {
  Json json = Json::object();
  json.set("a", Json::array_of(std::vector<int>{1, 2})).set("b", Json::object()).set("c", Json::array());
  EXPECT_EQ(json.dump(2), "{\n  \"a\": [1,2],\n  \"b\": {},\n  \"c\": []\n}");
}

TEST(Json, NumbersAreShortAndExact) {
  EXPECT_EQ(Json(31.45).dump(), "31.45");
  EXPECT_EQ(Json(0.1f).dump(), "0.10000000149011612");
  EXPECT_EQ(Json(std::numeric_limits<uint64_t>::max()).dump(), "18446744073709551615");
  EXPECT_EQ(Json(std::numeric_limits<int64_t>::min()).dump(), "-9223372036854775808");
}

TEST(Json, NumbersThatJsonCannotSayBecomeNull) {
  EXPECT_EQ(Json(std::numeric_limits<double>::quiet_NaN()).dump(), "null");
  EXPECT_EQ(Json(-std::numeric_limits<double>::infinity()).dump(), "null");
}

TEST(Json, ControlCharactersAndQuotesAreEscaped) {
  EXPECT_EQ(Json(std::string("a\"b\\c\n\t\x01\x7f", 9)).dump(), "\"a\\\"b\\\\c\\n\\t\\u0001\\u007f\"");
}

TEST(Json, BytesThatAreNotUtf8AreReplaced) {
  EXPECT_EQ(Json("a\xFFz").dump(), "\"a\xEF\xBF\xBDz\"");
  EXPECT_EQ(Json("\xE6\x97").dump(), "\"\xEF\xBF\xBD\xEF\xBF\xBD\"") << "a cut character";
  EXPECT_EQ(Json("\xC0\x80").dump(), "\"\xEF\xBF\xBD\xEF\xBF\xBD\"") << "an overlong form";
  EXPECT_EQ(Json("\xED\xA0\x80").dump(), "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"") << "a surrogate";
  EXPECT_EQ(Json("日本語 😀").dump(), "\"日本語 😀\"");
}

TEST(Json, ParsingGivesBackWhatWasWritten) {
  const std::string text = R"({"a":[1,-2,2.5,true,null,"x\u00e9\ud83d\ude00"],"b":{"c":18446744073709551615}})";
  const auto json = Json::parse(text);
  ASSERT_TRUE(json.has_value()) << json.error().message;
  EXPECT_EQ(json->find("a")->elements()[5].as_string(), "x\u00e9\U0001F600");
  EXPECT_EQ(Json::parse(json->dump())->dump(), json->dump());
}

TEST(Json, AccessOfTheWrongKindGivesNothing) {
  const Json json = Json::parse(R"({"s":"1","n":1.0,"f":1.5})").value();
  EXPECT_FALSE(json.find("s")->as_int().has_value());
  EXPECT_EQ(json.find("n")->as_int(), 1);
  EXPECT_FALSE(json.find("f")->as_int().has_value());
  EXPECT_EQ(json.find("none"), nullptr);
  EXPECT_TRUE(json.elements().empty());
}

TEST(Json, BrokenTextIsRefusedWithItsPlace) {
  for (const char* text : {"", "{", "[1,]", "nul", "\"a", "{\"a\":1}x", "1 2", "[1e999e]", "'a'", "\"\xFF\""}) {
    const auto json = Json::parse(text);
    ASSERT_FALSE(json.has_value()) << text;
    EXPECT_EQ(json.error().code, ErrorCode::kCorrupt) << text;
    EXPECT_NE(json.error().message.find("byte"), std::string::npos) << json.error().message;
  }
}

TEST(Json, AnyBytesBecomeAStringThatParsesAndNeverChangesAgain) {
  testing::for_each_case(300, [](Rng& rng) {
    std::string bytes;
    for (uint32_t i = rng.below(40); i > 0; --i) bytes += static_cast<char>(rng.next() >> 56);
    const std::string once = Json(bytes).dump();
    const auto parsed = Json::parse(once);
    ASSERT_TRUE(parsed.has_value()) << parsed.error().message;
    EXPECT_EQ(parsed->dump(), once);
  });
}

TEST(Json, NestingBeyondTheLimitIsRefused) {
  const auto nested = [](int depth) {
    return std::string(static_cast<size_t>(depth), '[') + std::string(static_cast<size_t>(depth), ']');
  };
  EXPECT_TRUE(Json::parse(nested(Json::kDepthMax)).has_value());
  EXPECT_FALSE(Json::parse(nested(Json::kDepthMax + 1)).has_value());
  EXPECT_FALSE(Json::parse(std::string(1 << 20, '[')).has_value());
}

}  // namespace
}  // namespace infer::api
