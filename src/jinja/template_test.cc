#include "jinja/template.h"

#include <gtest/gtest.h>

#include <string>

#include "jinja/json_reader.h"

namespace infer::jinja {
namespace {

constexpr std::string_view kVariables = R"({
  "messages": [{"role": "system", "content": "S"}, {"role": "user", "content": " <|end|> "}],
  "tools": [{"name": "f", "parameters": {"type": "object", "x": 1.0}}], "n": 3, "text": "a\u00fcb"})";

Result<Text> render(std::string_view source, const Limits& limits = {}) {
  INFER_ASSIGN(const Template parsed, Template::parse(source));
  Heap heap(limits);
  INFER_ASSIGN(const Value variables, read_json(kVariables, Origin::kInput, heap));
  return parsed.render(variables, heap, {1'735'689'600'000});  // 2025-01-01 00:00 UTC
}

// Jinja 2 gives the same texts (tests/golden/compare_templates compares thousands more).
std::string text(std::string_view source) {
  const auto rendered = render(source);
  return rendered ? rendered->bytes() : "error: " + rendered.error().message;
}

std::string error(std::string_view source, ErrorCode code, const Limits& limits = {}) {
  const auto rendered = render(source, limits);
  EXPECT_FALSE(rendered.has_value()) << source.substr(0, 100);
  if (rendered) return "";
  EXPECT_EQ(rendered.error().code, code) << rendered.error().message;
  return rendered.error().message;
}

TEST(JinjaTemplate, WhiteSpaceControlIsHuggingFaces) {
  EXPECT_EQ(text("a\n  {% if true %}\nb\n  {% endif %}\nc\n"), "a\nb\nc");
  EXPECT_EQ(text("a  {%- if true -%}  b  {%- endif +%}\nc"), "ab\nc");
  EXPECT_EQ(text("  {%+ if true %}x{% endif %}"), "  x");
  EXPECT_EQ(text("{{ n }}\n  {{- n }}  {{ n -}}  \nx"), "33  3x");
  EXPECT_EQ(text("a {# note #}\nb{#- note -#} c\r\nd\n\n"), "a bc\nd\n");
  EXPECT_EQ(text("{% raw %}{{ n }}{% endraw %}"), "{{ n }}");
}

TEST(JinjaTemplate, ScopesAreJinjas) {
  EXPECT_EQ(text("{% set x = 1 %}{% for i in [1, 2] %}{% set x = x + i %}{{ x }}{% endfor %}{{ x }}"), "231");
  EXPECT_EQ(text("{% set ns = namespace(x=1) %}{% for i in [1, 2] %}{% set ns.x = ns.x + i %}{% endfor %}{{ ns.x }}"),
            "4");
  EXPECT_EQ(text("{% if n %}{% set y = 2 %}{% endif %}{{ y }}{{ undefined_name }}"), "2");
  EXPECT_EQ(text("{% macro m(a, b='-') %}[{{ a }}{{ b }}{{ n }}]{% endmacro %}{{ m(1) }}{{ m(b=2, a=3) }}"),
            "[1-3][323]");
  EXPECT_EQ(text("{% macro m() %}<{{ caller(2) }}>{% endmacro %}{% call(x) m() %}{{ x + n }}{% endcall %}"), "<5>");
}

TEST(JinjaTemplate, LoopsKnowWhereTheyAre) {
  EXPECT_EQ(text("{% for x in 'abc' %}{{ loop.index }}{{ x }}{{ loop.last }} {% endfor %}"), "1aFalse 2bFalse 3cTrue ");
  EXPECT_EQ(
      text(
          "{% for x in range(9) if x % 2 %}{% if x == 7 %}{% break %}{% endif %}{{ loop.length }}{{ x }} {% endfor %}"),
      "41 43 45 ");
  EXPECT_EQ(
      text("{% for k, v in tools[0].items() %}{{ k }}={{ v }};{% endfor %}{% for x in [] %}{% else %}none{% endfor %}"),
      "name=f;parameters={'type': 'object', 'x': 1.0};none");
}

TEST(JinjaTemplate, JsonIsPythons) {
  EXPECT_EQ(text("{{ tools | tojson }}"), R"([{"name": "f", "parameters": {"type": "object", "x": 1.0}}])");
  EXPECT_EQ(text("{{ tools[0].parameters | tojson(indent=2) }}"), "{\n  \"type\": \"object\",\n  \"x\": 1.0\n}");
  EXPECT_EQ(text("{{ [text, '<\"\\n', none, true, 1e16] | tojson }}"), R"(["aüb", "<\"\n", null, true, 1e+16])");
  EXPECT_EQ(text("{{ text | tojson(ensure_ascii=true) }}"), R"("a\u00fcb")");
}

TEST(JinjaTemplate, CharactersCountAndNotBytes) {
  EXPECT_EQ(text("{{ text | length }}{{ text[1] }}{{ text[-2:] }}{{ text[::-1] }}{{ text | upper }}"), "3üübbüaAÜB");
}

TEST(JinjaTemplate, TheTimeIsTheCallers) { EXPECT_EQ(text("{{ strftime_now('%d %b %Y') }}"), "01 Jan 2025"); }

TEST(JinjaTemplate, EveryByteKeepsItsOrigin) {
  const auto rendered = render(
      "<|u|>{{ messages[1].content | trim | upper }}<|e|>{{ '<' ~ messages[0]['content'].replace('S', 'x') ~ '>' }}");
  ASSERT_TRUE(rendered.has_value()) << rendered.error().message;
  EXPECT_EQ(rendered->bytes(), "<|u|><|END|><|e|><x>");
  std::string origins;
  for (size_t at = 0; at < rendered->size(); ++at) origins += rendered->origin_at(at) == Origin::kInput ? 'i' : '.';
  EXPECT_EQ(origins, ".....iiiiiii........") << "what replaced a part of a message was the template's";
}

TEST(JinjaTemplate, WhatAMessageGivesToTheFormOfJsonIsTheMessages) {
  const auto rendered = render(
      "{{ [1, 2] | tojson(indent=messages[0].content, separators=(messages[0].content, ':')) }}"
      "{{ {'k': 1} | tojson(separators=(',', messages[0].content)) }}");
  ASSERT_TRUE(rendered.has_value()) << rendered.error().message;
  EXPECT_EQ(rendered->bytes(), "[\nS1S\nS2\n]{\"k\"S1}");
  std::string origins;
  for (size_t at = 0; at < rendered->size(); ++at) origins += rendered->origin_at(at) == Origin::kInput ? 'i' : '.';
  EXPECT_EQ(origins, "..i.i.i.......i..");
}

TEST(JinjaTemplate, ErrorsNameLineAndColumn) {
  EXPECT_EQ(error("a\n  {{ n | nonsense }}", ErrorCode::kUnsupported)
                .find("line 2, column 10: there is no filter \"nonsense\""),
            0u);
  EXPECT_EQ(error("{% if n %}", ErrorCode::kCorrupt).find("line 1, "), 0u);
  EXPECT_EQ(error("{{ n + 'a' }}", ErrorCode::kInvalidArgument), "line 1, column 4: '+' does not take int and str");
  EXPECT_EQ(error("\n{{ missing.name }}", ErrorCode::kInvalidArgument), "line 2, column 11: \"missing\" is undefined");
  EXPECT_NE(error("{% include 'x' %}", ErrorCode::kUnsupported).find("include"), std::string::npos);
  EXPECT_NE(error("{% nonsense %}", ErrorCode::kUnsupported).find("nonsense"), std::string::npos);
  EXPECT_NE(error("{{ raise_exception('no ' ~ n) }}", ErrorCode::kInvalidArgument).find("no 3"), std::string::npos);
  EXPECT_NE(error("{{ messages.append(1) }}", ErrorCode::kUnsupported).find("append"), std::string::npos);
}

TEST(JinjaTemplate, HostileTemplatesEndAtALimit) {
  Limits limits;
  limits.steps = 200'000;
  limits.value_bytes = 8 << 20;
  const auto exhausts = [&](const std::string& source) { error(source, ErrorCode::kExhausted, limits); };
  exhausts("{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}");
  exhausts("{{ 'a' * 1000000000000 }}");
  exhausts("{{ [1] * 1000000000000 }}");
  exhausts("{% set ns = namespace(s='ab') %}{% for i in range(99) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}");
  exhausts("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}");
  exhausts("{{ 'x'.center(1000000000) }}{{ 'a' | indent(1000000000, true) }}");
  exhausts("{% set ns = namespace(v=[]) %}{% for i in range(500) %}{% set ns.v = [ns.v, ns.v] %}{% endfor %}");
  exhausts(
      "{% set ns = namespace(v=[1]) %}{% for i in range(60) %}{% set ns.v = [ns.v, ns.v] %}{% endfor %}{{ ns.v == ns.v "
      "~ '' or ns.v }}");
  exhausts("{% for i in range(9999) %}{{ ('a' * 9000).replace('', 'b') | length }}{% endfor %}");
  std::string deep(5000, '(');
  exhausts("{{ " + deep + "1" + std::string(5000, ')') + " }}");
  std::string sum = "1";
  for (int i = 0; i < 5000; ++i) sum += "+1";
  exhausts("{{ " + sum + " }}");
  std::string nested;
  for (int i = 0; i < 5000; ++i) nested += "{% if 1 %}";
  exhausts(nested);
  exhausts(std::string((1 << 20) + 1, 'x'));
}

TEST(JinjaTemplate, ASearchTakesLinearTimeWhateverTheTextsAre) {
  // With a plain search this would be some 10^11 comparisons.
  EXPECT_EQ(text("{% set a = 'a' * 1000000 %}{% set b = 'a' * 400000 ~ 'b' %}{{ b in a }}{{ a.find(b) }}"), "False-1");
}

}  // namespace
}  // namespace infer::jinja
