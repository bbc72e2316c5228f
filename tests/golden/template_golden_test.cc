// Chat templates render what Jinja 2 renders (renew_chat_templates.py writes it down).
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <string>

#include "api/json.h"
#include "jinja/template.h"
#include "jinja_values.h"

namespace infer {
namespace {

std::string read_file(const std::string& name) {
  std::ifstream file(std::string(INFER_SOURCE_DIR) + "/tests/golden/chat_templates/" + name, std::ios::binary);
  EXPECT_TRUE(file.good()) << name;
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(ChatTemplates, RenderWhatJinjaRenders) {
  const auto expected = api::Json::parse(read_file("expected.json"));
  const auto conversations = api::Json::parse(read_file("conversations.json"));
  ASSERT_TRUE(expected.has_value() && conversations.has_value());
  const WallTime now{expected->find("now")->as_int().value_or(0)};
  int rendered = 0, refused = 0;
  for (const auto& [name, answers] : expected->find("templates")->members()) {
    const auto parsed = jinja::Template::parse(read_file(name + ".jinja"));
    ASSERT_TRUE(parsed.has_value()) << name << ": " << parsed.error().message;
    for (const auto& [conversation, answer] : answers.members()) {
      jinja::Heap heap{jinja::Limits()};
      const jinja::Value variables = testing::jinja_value(*conversations->find(conversation), heap);
      const auto text = parsed->render(variables, heap, now);
      const std::string what = name + ", " + conversation;
      if (const api::Json* wanted = answer.find("text")) {
        ASSERT_TRUE(text.has_value()) << what << ": " << text.error().message;
        EXPECT_EQ(text->bytes(), *wanted->as_string()) << what;
        ++rendered;
      } else {
        EXPECT_FALSE(text.has_value()) << what;
        ++refused;
      }
    }
  }
  EXPECT_GE(rendered, 100);
  EXPECT_GE(refused, 10);
}

}  // namespace
}  // namespace infer
