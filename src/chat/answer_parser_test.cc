#include "chat/answer_parser.h"

#include <gtest/gtest.h>

#include <string>

#include "testing/property.h"

namespace infer::chat {
namespace {

AnswerParser::Options options_for(ToolCallFormat format) {
  return {.reasoning = {"<think>", "</think>"}, .finds_tool_calls = true, .tool_call_format = format};
}

void append(AnswerParser::Parts& to, const AnswerParser::Parts& more) {
  to.content += more.content;
  to.reasoning += more.reasoning;
  to.tool_calls.insert(to.tool_calls.end(), more.tool_calls.begin(), more.tool_calls.end());
}

// "reasoning|content|name(arguments)..."
std::string shown(const AnswerParser::Parts& parts) {
  std::string text = parts.reasoning + "|" + parts.content + "|";
  for (const ToolCall& call : parts.tool_calls) text += call.id + call.name + call.arguments;
  return text;
}

std::string parsed(const AnswerParser::Options& options, std::string_view answer) {
  AnswerParser parser(options);
  AnswerParser::Parts all = parser.push(answer);
  append(all, parser.finish());
  return shown(all);
}

TEST(AnswerParser, PlainTextIsContent) {
  const auto options = options_for(ToolCallFormat::kHermes);
  EXPECT_EQ(parsed(options, "Hello <b> { world }"), "|Hello <b> { world }|");
  EXPECT_EQ(parsed(options, ""), "||");
  EXPECT_EQ(parsed(options, " <thin"), "| <thin|");
}

TEST(AnswerParser, ThoughtsAreTakenApart) {
  const auto options = options_for(ToolCallFormat::kHermes);
  EXPECT_EQ(parsed(options, "<think>\nwell </thing>\n\n</think>\n\nYes."), "well </thing>|Yes.|");
  EXPECT_EQ(parsed(options, "<think>\n\n</think>\n\nYes."), "|Yes.|");
  EXPECT_EQ(parsed(options, "<think>never ends "), "never ends||");
  auto inside = options;
  inside.starts_in_reasoning = true;
  EXPECT_EQ(parsed(inside, "hm</think>Yes"), "hm|Yes|");
  EXPECT_TRUE(ends_in_reasoning("<|im_start|>assistant\n<think>\n", options.reasoning));
  EXPECT_FALSE(ends_in_reasoning("<think>\n\n</think>\n\n", options.reasoning));
}

TEST(AnswerParser, HermesCalls) {
  const auto options = options_for(ToolCallFormat::kHermes);
  EXPECT_EQ(
      parsed(
          options,
          "<think>x</think>\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": \"</tool_call>\"}}\n</tool_call>\n"
          "<tool_call>{\"name\": \"g\", \"arguments\": {}}</tool_call>"),
      R"(x||f{"a": "</tool_call>"}g{})");
  EXPECT_EQ(parsed(options, "Let me see.<tool_call>{\"name\": \"f\", \"arguments\": {}}"), "|Let me see.|f{}");
  EXPECT_EQ(parsed(options, "<tool_call>{\"name\": 3}</tool_call>"), "|<tool_call>{\"name\": 3}</tool_call>|");
  EXPECT_EQ(parsed(options, "<tool_call>{\"name\": \"f\", \"arg"), "|<tool_call>{\"name\": \"f\", \"arg|");
}

TEST(AnswerParser, MistralCalls) {
  const auto options = options_for(ToolCallFormat::kMistral);
  EXPECT_EQ(
      parsed(
          options,
          R"([TOOL_CALLS] [{"name": "f", "arguments": {"a": 1}, "id": "123456789"}, {"name": "g", "arguments": {}}])"),
      R"(||123456789f{"a": 1}g{})");
  EXPECT_EQ(parsed(options, R"([TOOL_CALLS]f[ARGS]{"a": 1}[TOOL_CALLS]g{"b": 2.0})"), R"(||f{"a": 1}g{"b": 2.0})");
  EXPECT_EQ(parsed(options, R"([TOOL_CALLS]f[CALL_ID]123456789[ARGS]{"a": 1}[TOOL_CALLS]g[ARGS]{})"),
            R"(||123456789f{"a": 1}g{})");
  EXPECT_EQ(parsed(options, "[TOOL_CALLS] no call"), "|[TOOL_CALLS] no call|");
}

TEST(AnswerParser, ChannelsAreTakenApart) {
  const auto options = options_for(ToolCallFormat::kHarmony);
  EXPECT_EQ(parsed(options,
                   "<|channel|>analysis<|message|>Hm. 1 < 2.<|end|><|start|>assistant<|channel|>final<|message|>Yes."),
            "Hm. 1 < 2.|Yes.|");
  // Who is spoken to may stand before the channel or behind it.
  EXPECT_EQ(parsed(options, R"(<|channel|>commentary to=functions.f <|constrain|>json<|message|>{"a": "<|x"})"),
            R"(||f{"a": "<|x"})");
  EXPECT_EQ(parsed(options, " to=functions.f<|channel|>commentary json<|message|>{\"a\": 1}<|call|>"), "||f{\"a\": 1}");
  EXPECT_EQ(parsed(options,
                   "<|channel|>commentary<|message|>I look.<|end|><|start|>assistant to=functions.f<|channel|>"
                   "commentary <|constrain|>json<|message|>{}"),
            "|I look.|f{}");
  EXPECT_EQ(parsed(options, "<|channel|>commentary to=functions.f<|message|>{\"a\": "), "|{\"a\": |");
  EXPECT_EQ(parsed(options, "<|channel|>final"), "||");
  EXPECT_EQ(parsed(options, "Plain words."), "|Plain words.|");
  auto without = options;
  without.finds_tool_calls = false;
  EXPECT_EQ(parsed(without, "<|channel|>commentary to=functions.f<|message|>{}"), "|{}|");
}

TEST(AnswerParser, OneCallIsKeptWhereMoreAreNotWanted) {
  auto options = options_for(ToolCallFormat::kMistral);
  options.has_one_call_at_most = true;
  EXPECT_EQ(parsed(options, R"([TOOL_CALLS][{"name": "f", "arguments": {}}, {"name": "g", "arguments": {}}])"),
            "||f{}");
  options.tool_call_format = ToolCallFormat::kHermes;
  const std::string call = R"(<tool_call>{"name": "f", "arguments": {}}</tool_call>)";
  EXPECT_EQ(parsed(options, call + call), "||f{}");
}

TEST(AnswerParser, Llama3AndBareJsonCalls) {
  for (const ToolCallFormat format : {ToolCallFormat::kLlama3, ToolCallFormat::kJson}) {
    const auto options = options_for(format);
    EXPECT_EQ(parsed(options, R"(  {"name": "f", "parameters": {"a": [1, "}"]}})"), R"(||f{"a": [1, "}"]})");
    EXPECT_EQ(parsed(options, R"({"type": "function", "function": {"name": "f", "arguments": "{\"a\": 1}"}})"),
              R"(||f{"a": 1})");
    EXPECT_EQ(parsed(options, R"({"answer": 42})"), R"(|{"answer": 42}|)");
    EXPECT_EQ(parsed(options, R"(Say {"name": "f", "parameters": {}})"), R"(|Say {"name": "f", "parameters": {}}|)");
  }
  EXPECT_EQ(parsed(options_for(ToolCallFormat::kLlama3), R"(<|python_tag|>{"name": "f", "parameters": {}})"), "||f{}");
  auto without = options_for(ToolCallFormat::kJson);
  without.finds_tool_calls = false;
  EXPECT_EQ(parsed(without, R"({"name": "f", "parameters": {}})"), R"(|{"name": "f", "parameters": {}}|)");
}

TEST(AnswerParser, HowTheTextIsCutMakesNoDifference) {
  const char* pieces[] = {"<think>",
                          "</think>",
                          "<tool_call>",
                          "</tool_call>",
                          "[TOOL_CALLS]",
                          "[ARGS]",
                          "<|python_tag|>",
                          "<|channel|>",
                          "<|message|>",
                          "<|end|>",
                          "<|start|>",
                          "analysis",
                          "to=functions.f",
                          "f",
                          "<",
                          "[",
                          "{",
                          "}",
                          "]",
                          "\"",
                          " ",
                          "\n",
                          "\\",
                          "text",
                          R"({"name": "f", "arguments": {"x": 1}})",
                          R"([{"name": "g", "parameters": {}}])"};
  testing::for_each_case(3000, [&](Rng& rng) {
    std::string answer;
    for (uint32_t i = rng.below(10); i > 0; --i) answer += pieces[rng.below(std::size(pieces))];
    auto options = options_for(static_cast<ToolCallFormat>(rng.below(6)));
    options.starts_in_reasoning = rng.below(4) == 0;
    AnswerParser parser(options);
    AnswerParser::Parts all;
    for (size_t at = 0; at < answer.size();) {
      const size_t size = 1 + rng.below(4);
      append(all, parser.push(std::string_view(answer).substr(at, size)));
      at += size;
    }
    append(all, parser.finish());
    EXPECT_EQ(shown(all), parsed(options, answer)) << answer;
  });
}

}  // namespace
}  // namespace infer::chat
