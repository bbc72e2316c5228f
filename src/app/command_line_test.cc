#include "app/command_line.h"

#include <gtest/gtest.h>

#include "app/flag_values.h"

namespace infer::app {
namespace {

Result<Invocation> parse(std::vector<const char*> words) {
  words.insert(words.begin(), "inferos");
  return parse_command_line(static_cast<int>(words.size()), words.data());
}

std::string message(std::vector<const char*> words) {
  const auto result = parse(std::move(words));
  EXPECT_FALSE(result.has_value());
  if (result.has_value()) return "";
  EXPECT_EQ(result.error().code, ErrorCode::kInvalidArgument);
  return result.error().message;
}

TEST(CommandLine, RunTakesAllItsFlags) {
  const auto parsed = parse({"run", "-m",          "m.gguf", "-p",     "-x", "-n",     "-1", "--temp",
                             "0.5", "--top-k",     "7",      "--seed", "9",  "--ctx",  "64", "--threads",
                             "2",   "--deadline",  "1.5s",   "--stop", "a",  "--stop", "b",  "--memory-limit",
                             "2GB", "--no-stream", "--json"});
  ASSERT_TRUE(parsed.has_value()) << parsed.error().message;
  const auto& run = std::get<RunOptions>(*parsed);
  EXPECT_EQ(run.model.path, "m.gguf");
  EXPECT_EQ(run.prompt.text, "-x") << "a value may begin with a dash";
  EXPECT_EQ(run.tokens_max, -1);
  EXPECT_EQ(run.sampling.temperature, 0.5f);
  EXPECT_EQ(run.sampling.top_k, 7);
  EXPECT_EQ(run.sampling.seed, 9u);
  EXPECT_TRUE(run.seed_given);
  EXPECT_EQ(run.model.context, 64);
  EXPECT_EQ(run.model.threads, 2);
  EXPECT_EQ(run.model.deadline, Duration::from_ms(1500));
  EXPECT_EQ(run.stops, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(run.model.memory_limit_bytes, 2'000'000'000u);
  EXPECT_FALSE(run.stream);
  EXPECT_TRUE(run.json);
}

TEST(CommandLine, TheRepackCacheIsOnUnlessSwitchedOff) {
  const auto plain = parse({"bench", "-m", "m.gguf"});
  ASSERT_TRUE(plain.has_value()) << plain.error().message;
  EXPECT_TRUE(std::get<BenchOptions>(*plain).model.repack_cache);
  EXPECT_EQ(std::get<BenchOptions>(*plain).model.repack_cache_limit_bytes, 0u);
  const auto given = parse({"run", "--repack-cache", "there", "--repack-cache-limit", "3GB", "--no-repack-cache"});
  ASSERT_TRUE(given.has_value()) << given.error().message;
  const ModelChoice& choice = std::get<RunOptions>(*given).model;
  EXPECT_FALSE(choice.repack_cache);
  EXPECT_EQ(choice.repack_cache_folder, "there");
  EXPECT_EQ(choice.repack_cache_limit_bytes, 3'000'000'000u);
  EXPECT_NE(message({"run", "--repack-cache-limit", "0"}).find("--no-repack-cache"), std::string::npos);
}

TEST(CommandLine, ASystemMessageMeansAChat) {
  const auto chat_of = [](std::vector<const char*> words) {
    const auto parsed = parse(std::move(words));
    EXPECT_TRUE(parsed.has_value());
    return parsed ? std::get<RunOptions>(*parsed).chat : std::nullopt;
  };
  EXPECT_EQ(chat_of({"run", "-i"}), std::nullopt) << "the model decides";
  EXPECT_EQ(chat_of({"run", "--chat"}), true);
  EXPECT_EQ(chat_of({"run", "--no-chat"}), false);
  EXPECT_EQ(chat_of({"run", "--system", "Be brief."}), true);
  EXPECT_NE(message({"run", "--no-chat", "--system", "Be brief."}).find("--system"), std::string::npos);
}

TEST(CommandLine, TheLastOfARepeatedFlagCounts) {
  const auto parsed = parse({"bench", "--pp", "1", "--pp", "2"});
  ASSERT_TRUE(parsed.has_value()) << parsed.error().message;
  EXPECT_EQ(std::get<BenchOptions>(*parsed).prompt_tokens, 2);
}

TEST(CommandLine, AValueOutOfRangeNamesTheFlagTheRangeAndTheValue) {
  EXPECT_EQ(message({"run", "--threads", "0"}), "run: --threads: must be a whole number from 1 to 256, not '0'");
  EXPECT_EQ(message({"run", "--threads", "2x"}), "run: --threads: must be a whole number from 1 to 256, not '2x'");
  EXPECT_EQ(message({"run", "--top-p", "nan"}), "run: --top-p: must be a number from 0 to 1, not 'nan'");
  EXPECT_NE(message({"run", "-n", "99999999999999999999"}).find("--tokens"), std::string::npos);
  EXPECT_NE(message({"bench", "--memory-limit", "lots"}).find("--memory-limit"), std::string::npos);
  EXPECT_NE(message({"run", "--deadline", "-1s"}).find("like 30s"), std::string::npos);
  EXPECT_NE(message({"run", "--stop", ""}).find("--stop"), std::string::npos);
}

TEST(CommandLine, AnUnknownCommandSuggestsTheNearest) {
  EXPECT_EQ(message({"rum"}), "unknown command 'rum' (did you mean run?); inferos --help lists them");
  EXPECT_EQ(message({"tokenise"}), "unknown command 'tokenise' (did you mean tokenize?); inferos --help lists them");
  EXPECT_EQ(message({"xyzzy"}), "unknown command 'xyzzy'; inferos --help lists them");
}

TEST(CommandLine, AnUnknownFlagSuggestsTheNearest) {
  EXPECT_EQ(message({"run", "--tmp", "1"}),
            "run: unexpected argument '--tmp' (did you mean --temp?); see inferos run --help");
}

TEST(CommandLine, WhatIsMissingIsNamed) {
  EXPECT_NE(message({"perplexity"}).find("--file"), std::string::npos);
  EXPECT_NE(message({"make-model", "x.gguf"}).find("--shape"), std::string::npos);
  EXPECT_NE(message({"make-model", "--shape", "llama-9t", "x"}).find("one of llama-tiny, llama-1b"), std::string::npos);
  EXPECT_NE(message({"run", "--model"}).find("--model"), std::string::npos);
}

TEST(CommandLine, FlagsThatContradictEachOtherAreRefused) {
  EXPECT_NE(message({"run", "-p", "a", "-f", "b"}).find("exclude"), std::string::npos);
  EXPECT_NE(message({"run", "-i", "--json"}).find("exclude"), std::string::npos);
}

TEST(CommandLine, HelpHasExamplesForEveryCommand) {
  for (const char* command : {"run", "inspect", "tokenize", "perplexity", "bench", "make-model"}) {
    const auto parsed = parse({command, "--help"});
    ASSERT_TRUE(parsed.has_value()) << command;
    const std::string& text = std::get<ShowText>(*parsed).text;
    EXPECT_NE(text.find(std::string("Examples:\n  inferos ") + command), std::string::npos) << text;
  }
  EXPECT_NE(std::get<ShowText>(*parse({})).text.find("make-model"), std::string::npos);
  EXPECT_EQ(std::get<ShowText>(*parse({"--version"})).text.rfind("inferos ", 0), 0u);
}

TEST(CommandLine, DurationsHaveUnits) {
  EXPECT_EQ(*parse_duration("30s"), Duration::from_ms(30000));
  EXPECT_EQ(*parse_duration("500ms"), Duration::from_ms(500));
  EXPECT_EQ(*parse_duration("2m"), Duration::from_ms(120000));
  EXPECT_EQ(*parse_duration("0.5h"), Duration::from_ms(1800000));
  EXPECT_EQ(*parse_duration("3"), Duration::from_ms(3000));
  for (const char* text : {"", "0", "0s", "s", "1x", "-1s", "1e9s", "nan", "1.2.3s", "99999999999h"}) {
    EXPECT_FALSE(parse_duration(text).has_value()) << text;
  }
}

}  // namespace
}  // namespace infer::app
