#include "app/session_command.h"

#include <gtest/gtest.h>

namespace infer::app {
namespace {

TEST(SessionCommand, OnlyASlashAndALetterIsOne) {
  EXPECT_TRUE(is_session_command("/bye"));
  EXPECT_TRUE(is_session_command("/?"));
  EXPECT_FALSE(is_session_command("/"));
  EXPECT_FALSE(is_session_command("/ 2"));
  EXPECT_FALSE(is_session_command("and/or"));
}

TEST(SessionCommand, WordsAreSplitAtBlanks) {
  const auto command = parse_session_command("/set  temperature\t0.3 ");
  ASSERT_TRUE(command.has_value());
  EXPECT_EQ(command->verb, SessionVerb::kSet);
  EXPECT_EQ(command->name, "temperature");
  EXPECT_EQ(command->value, "0.3");
}

TEST(SessionCommand, UnknownOnesSuggestTheNearest) {
  EXPECT_NE(parse_session_command("/rest").error().message.find("did you mean /reset?"), std::string::npos);
  EXPECT_FALSE(parse_session_command("/set temperature").has_value());
  EXPECT_FALSE(parse_session_command("/bye now").has_value());
}

TEST(SessionCommand, ASettingChangesOnlyWhatItNames) {
  SessionSettings settings;
  ASSERT_TRUE(apply_setting("top_k", "5", settings).has_value());
  EXPECT_EQ(settings.sampling.top_k, 5);
  EXPECT_EQ(settings.sampling.temperature, sampling::SamplingParams{}.temperature);
  EXPECT_NE(settings_text(settings).find("top_k              5\n"), std::string::npos);
}

TEST(SessionCommand, AWrongValueChangesNothing) {
  SessionSettings settings;
  EXPECT_FALSE(apply_setting("top_p", "7", settings).has_value());
  EXPECT_FALSE(apply_setting("top_k", "x", settings).has_value());
  EXPECT_FALSE(apply_setting("temperature", "nan", settings).has_value());
  EXPECT_FALSE(apply_setting("tokens", "-2", settings).has_value());
  EXPECT_NE(apply_setting("temprature", "1", settings).error().message.find("temperature"), std::string::npos);
  EXPECT_EQ(settings.sampling.top_p, sampling::SamplingParams{}.top_p);
}

}  // namespace
}  // namespace infer::app
