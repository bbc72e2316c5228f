#include "jinja/json_reader.h"

#include <gtest/gtest.h>

#include <string>

#include "jinja/json_text.h"

namespace infer::jinja {
namespace {

// Python's json.dumps(json.loads(text), ensure_ascii=False) gives the same.
std::string round_trip(std::string_view json) {
  Heap heap{Limits()};
  const auto value = read_json(json, Origin::kInput, heap);
  if (!value) {
    EXPECT_EQ(value.error().code, ErrorCode::kCorrupt);
    return "error";
  }
  return json_text(*value, {}, heap).value().text().bytes();
}

TEST(JsonReader, ReadsWhatPythonReads) {
  EXPECT_EQ(round_trip(R"( {"a":[1,-2.50,1e2,true,false,null],"b":{}} )"),
            R"({"a": [1, -2.5, 100.0, true, false, null], "b": {}})");
  EXPECT_EQ(round_trip(R"("\u00fc\ud83d\ude00\n\/\"")"), "\"ü😀\\n/\\\"\"");
  EXPECT_EQ(round_trip(R"({"a": 1, "b": 2, "a": 3})"), R"({"a": 3, "b": 2})");
  EXPECT_EQ(round_trip("9223372036854775807"), "9223372036854775807");
  EXPECT_EQ(round_trip("0"), "0");
  EXPECT_EQ(round_trip("-0.0"), "-0.0");
}

TEST(JsonReader, RefusesWhatIsNoJson) {
  for (const char* broken :
       {"",      "{",   "[1,]",     "{\"a\"}", "{\"a\":1,}", "01",      "1.",          ".5",
        "1e",    "+1",  "nul",      "\"a",     "\"\t\"",     "\"\\x\"", "\"\\ud800\"", "\"\\ud800\\u0041\"",
        "[1] 2", "'a'", "\"\xFF\"", "{1: 2}",  "NaN"}) {
    EXPECT_EQ(round_trip(broken), "error") << broken;
  }
  EXPECT_EQ(round_trip(std::string(100'000, '[')), "error");
}

}  // namespace
}  // namespace infer::jinja
