#include "grammar/gbnf.h"

#include <gtest/gtest.h>

#include "base/format.h"
#include "grammar/automaton.h"
#include "grammar/grammar.h"

namespace infer::grammar {
namespace {

Result<Grammar> compile(std::string_view text) {
  INFER_ASSIGN(const RootedRules made, parse_gbnf(text));
  return Grammar::compile(made.rules, made.root);
}

std::string error_of(std::string_view text) {
  const Result<Grammar> made = compile(text);
  return made ? "" : made.error().message;
}

bool accepts(std::string_view grammar, std::string_view text) {
  Result<Grammar> made = compile(grammar);
  EXPECT_TRUE(made.has_value()) << grammar << ": " << made.error().message;
  if (!made) return false;
  Automaton automaton(std::make_shared<const Grammar>(*std::move(made)));
  const StateId state = automaton.advance(automaton.start(), text);
  return state != kDeadState && automaton.may_end(state);
}

TEST(Gbnf, ReadsWhatLlamaCppDocuments) {
  EXPECT_TRUE(accepts("root ::= \"yes\" | \"no\"", "no"));
  EXPECT_FALSE(accepts("root ::= \"yes\" | \"no\"", "n"));
  EXPECT_TRUE(accepts("# comment\nroot ::= a-1 # more\na-1 ::= [a-c]+ [^x-z\\n]? .", "abcq!"));
  EXPECT_TRUE(accepts("root ::= (\n  \"a\" # one\n  | \"b\"\n)*", "abba"));
  EXPECT_TRUE(accepts("root ::= \"a\" |\n  \"b\"", "b"));
  EXPECT_TRUE(accepts("root ::=\n  \"a\"\n  | \"b\"\n", "b"));
  EXPECT_TRUE(accepts("root ::= \"\\x41\\u00e9\\U0001F600\\\\\\\"\\t\"", "A\xC3\xA9\xF0\x9F\x98\x80\\\"\t"));
  EXPECT_TRUE(accepts("root ::= [\\]\\[\\\\-]+", "[]\\-"));
  EXPECT_TRUE(accepts("root ::= [ぁ-ゟ]{2,3}", "ひら"));
  EXPECT_FALSE(accepts("root ::= [ぁ-ゟ]{2,3}", "ひ"));
  EXPECT_FALSE(accepts("root ::= [ぁ-ゟ]{2,3}", "ひらがな"));
  EXPECT_TRUE(accepts("root ::= \"a\"{2} \"b\"{1,} \"c\"?", "aabbb"));
  EXPECT_TRUE(accepts("root ::= \"\" | \"x\" root", "xxx"));
  EXPECT_TRUE(accepts("root ::= | \"x\"", ""));
  EXPECT_TRUE(accepts("root ::= \"(\" root \")\" | [0-9]+", "((42))"));
  EXPECT_FALSE(accepts("root ::= \"(\" root \")\" | [0-9]+", "((42)"));
}

TEST(Gbnf, ErrorsNameTheLineTheColumnAndWhatToDo) {
  const std::pair<const char*, const char*> cases[] = {
      {"root ::= \"a\nx ::= \"b\"", "line 1, column 10: this text is not closed"},
      {"root ::= [a", "line 1, column 10: this class is not closed"},
      {"root ::= [z-a]", "runs backwards"},
      {"root ::= []", "holds no character"},
      {"root ::= (\"a\"", "line 1, column 10: this '(' is never closed"},
      {"root ::= \"a\")", "line 1, column 13: an element, '|' or the end of the rule expected, but ')' found"},
      {"root ::= \"é\" b", "line 1, column 14: the rule 'b' is not defined"},
      {"root ::= \"a\"\n\nroot ::= \"b\"", "line 3, column 1: the rule 'root' is already defined in line 1"},
      {"a ::= \"a\"", "there is no rule 'root'"},
      {"", "there is no rule 'root'"},
      {"root = \"a\"", "'::=' after the name 'root' expected, but '=' found"},
      {"root ::= *", "repeats what stands before it"},
      {"root ::= \"a\"{3,2}", "runs backwards"},
      {"root ::= \"a\"{99999999999}", "count is above 1000000000"},
      {"root ::= \"\\q\"", "line 1, column 11: unknown escape"},
      {"root ::= \"\\u12\"", "digit 3 of 4 expected"},
      {"root ::= \"\\uD800\"", "U+D800 is no character"},
      {"root ::= <[1000]>", "tokens in '<>' are not supported"},
      {"root ::= \"\xFF\"", "save the grammar as UTF-8"},
      {"ro_ot ::= \"a\"", "'::=' after the name 'ro' expected"},
      {"root ::= root \"a\" | \"b\"", "line 1: the rule 'root' is left-recursive"},
      {"root ::= x\nx ::= y? z\ny ::= \"q\"\nz ::= x | \"k\"", "is left-recursive"},
      {"root ::= \"a\" root", "line 1: the rule 'root' matches no text that ends"},
  };
  for (const auto& [text, expected] : cases) {
    EXPECT_NE(error_of(text).find(expected), std::string::npos) << text << "\n  " << error_of(text);
  }
}

TEST(Gbnf, HostileTextsCostLittle) {
  EXPECT_NE(error_of(format("root ::= {}", std::string(100'000, '('))).find("nested more than"), std::string::npos);
  EXPECT_NE(error_of(std::string(kGbnfBytesMax + 1, ' ')).find("shorten it"), std::string::npos);
  EXPECT_NE(error_of(format("root ::= \"a\"{}", std::string(1000, '*'))).find("too many repetitions"),
            std::string::npos);
  EXPECT_TRUE(accepts("root ::= (\"a\"{0,1000000}){0,1000000} \"b\"", std::string(3000, 'a') + "b"));
  const auto chain_of = [](int count) {  // Each rule leads to the next: nothing may recurse along it.
    std::string chain = "root ::= r0\n";
    for (int i = 0; i < count; ++i) chain += format("r{} ::= r{}\n", i, i + 1);
    return chain + format("r{} ::= \"x\"", count);
  };
  EXPECT_TRUE(accepts(chain_of(4000), "x"));
  EXPECT_FALSE(accepts(chain_of(40'000), "x"));  // More moves than one byte may cost.
  std::string doubled = "root ::= r0 \"!\"\n";   // 2^60 stacks.
  for (int i = 0; i < 60; ++i) doubled += format("r{} ::= r{} \"a\" | r{} \"b\"\n", i, i + 1, i + 1);
  std::string text(61, 'a');
  text.front() = 'x';
  EXPECT_TRUE(accepts(doubled + "r60 ::= \"x\"", text + "!"));
}

}  // namespace
}  // namespace infer::grammar
