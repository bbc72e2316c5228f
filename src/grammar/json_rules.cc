#include "grammar/json_rules.h"

#include <algorithm>
#include <array>
#include <string>

namespace infer::grammar {
namespace {

struct ShortEscape {
  uint32_t character;
  char letter;
};
constexpr std::array<ShortEscape, 7> kShortEscapes = {
    {{'"', '"'}, {'\\', '\\'}, {'\b', 'b'}, {'\f', 'f'}, {'\n', 'n'}, {'\r', 'r'}, {'\t', 't'}}};

bool must_be_escaped(uint32_t character) { return character < 0x20 || character == '"' || character == '\\'; }

std::string escaped(uint32_t character) {
  for (const ShortEscape& known : kShortEscapes) {
    if (known.character == character) return std::string("\\") + known.letter;
  }
  constexpr char kHex[] = "0123456789abcdef";
  return std::string("\\u00") + kHex[character >> 4 & 15] + kHex[character & 15];
}

constexpr uint32_t kSpaceMax = 20;
constexpr uint32_t kDigitsMax = 16;

}  // namespace

ExprId JsonRules::space() {
  return rule(space_, "space", [&] {
    const ExprId line_feeds = rules_.repeat(rules_.text("\n"), 1, 2);
    const ExprId indent = rules_.repeat(rules_.characters({{' ', ' '}, {'\t', '\t'}}), 0, kSpaceMax);
    return rules_.choice({rules_.text(""), rules_.text(" "), rules_.sequence({line_feeds, indent})});
  });
}

ExprId JsonRules::comma() { return rules_.sequence({rules_.text(","), space()}); }
ExprId JsonRules::colon() { return rules_.sequence({rules_.text(":"), space()}); }

ExprId JsonRules::value() {
  return rule(value_, "value",
              [&] { return rules_.choice({object(), array(), string(), number(), boolean(), null()}); });
}

ExprId JsonRules::object() {
  return rule(object_, "object", [&] {
    const ExprId member = rules_.sequence({string(), colon(), value()});
    const ExprId more = rules_.repeat(rules_.sequence({comma(), member}), 0, kUnbounded);
    const ExprId members = rules_.optional(rules_.sequence({member, more, space()}));
    return rules_.sequence({rules_.text("{"), space(), members, rules_.text("}")});
  });
}

ExprId JsonRules::array() {
  return rule(array_, "array", [&] {
    const ExprId more = rules_.repeat(rules_.sequence({comma(), value()}), 0, kUnbounded);
    const ExprId elements = rules_.optional(rules_.sequence({value(), more, space()}));
    return rules_.sequence({rules_.text("["), space(), elements, rules_.text("]")});
  });
}

ExprId JsonRules::string() {
  return rule(string_, "string", [&] {
    const ExprId content = rules_.repeat(character(), 0, kUnbounded);
    return rules_.sequence({rules_.text("\""), content, rules_.text("\"")});
  });
}

ExprId JsonRules::digits(uint32_t least, uint32_t most) {
  return rules_.repeat(rules_.characters({{'0', '9'}}), least, most);
}

ExprId JsonRules::integer() {
  return rule(integer_, "integer", [&] {
    const ExprId natural = rules_.sequence({rules_.characters({{'1', '9'}}), digits(0, kDigitsMax - 1)});
    return rules_.sequence({rules_.optional(rules_.text("-")), rules_.choice({rules_.text("0"), natural})});
  });
}

ExprId JsonRules::number() {
  return rule(number_, "number", [&] {
    const ExprId fraction = rules_.sequence({rules_.text("."), digits(1, kDigitsMax)});
    const ExprId sign = rules_.optional(rules_.characters({{'+', '+'}, {'-', '-'}}));
    const ExprId exponent = rules_.sequence({rules_.characters({{'e', 'e'}, {'E', 'E'}}), sign, digits(1, 2)});
    return rules_.sequence({integer(), rules_.optional(fraction), rules_.optional(exponent)});
  });
}

ExprId JsonRules::boolean() { return rules_.choice({rules_.text("true"), rules_.text("false")}); }

// \uD83D\uDE00: one character beyond U+FFFF.
ExprId JsonRules::surrogate_pair() {
  const ExprId hex = rules_.characters({{'0', '9'}, {'a', 'f'}, {'A', 'F'}});
  const ExprId d = rules_.characters({{'d', 'd'}, {'D', 'D'}});
  const ExprId high = rules_.characters({{'8', '9'}, {'a', 'b'}, {'A', 'B'}});
  const ExprId low = rules_.characters({{'c', 'f'}, {'C', 'F'}});
  return rules_.sequence({d, high, hex, hex, rules_.text("\\u"), d, low, hex, hex});
}

ExprId JsonRules::character() {
  return rule(character_, "character", [&] {
    const ExprId plain = rules_.characters(complement({{0, 0x1F}, {'"', '"'}, {'\\', '\\'}}));
    const ExprId hex = rules_.characters({{'0', '9'}, {'a', 'f'}, {'A', 'F'}});
    const ExprId not_d = rules_.characters({{'0', '9'}, {'a', 'c'}, {'A', 'C'}, {'e', 'f'}, {'E', 'F'}});
    const ExprId d = rules_.characters({{'d', 'd'}, {'D', 'D'}});
    const ExprId low = rules_.characters({{'0', '7'}});
    const ExprId four =
        rules_.choice({rules_.sequence({not_d, hex, hex, hex}), rules_.sequence({d, low, hex, hex}), surrogate_pair()});
    const ExprId one = rules_.characters(
        {{'"', '"'}, {'\\', '\\'}, {'/', '/'}, {'b', 'b'}, {'f', 'f'}, {'n', 'n'}, {'r', 'r'}, {'t', 't'}});
    const ExprId escape = rules_.choice({one, rules_.sequence({rules_.text("u"), four})});
    return rules_.choice({plain, rules_.sequence({rules_.text("\\"), escape})});
  });
}

ExprId JsonRules::exact(const std::vector<CharacterRange>& ranges) {
  std::vector<ExprId> alternatives;
  std::vector<CharacterRange> plain = complement(ranges);  // What is left out, for now.
  plain.push_back({0, 0x1F});
  plain.push_back({'"', '"'});
  plain.push_back({'\\', '\\'});
  plain = complement(std::move(plain));
  if (!plain.empty()) alternatives.push_back(rules_.characters(std::move(plain)));
  for (const CharacterRange& range : normalized(ranges)) {
    for (uint32_t c = range.first; c <= std::min(range.last, uint32_t{'\\'}); ++c) {
      if (must_be_escaped(c)) alternatives.push_back(rules_.text(escaped(c)));
    }
  }
  return rules_.choice(alternatives);
}

ExprId JsonRules::quoted(std::string_view utf8) {
  std::string text = "\"";
  for (const char c : utf8) {
    const auto byte = static_cast<unsigned char>(c);
    text += must_be_escaped(byte) ? escaped(byte) : std::string(1, c);
  }
  return rules_.text(text + "\"");
}

ExprId JsonRules::key(std::string_view utf8) { return rules_.sequence({quoted(utf8), colon()}); }

RootedRules any_json_object() {
  RootedRules made;
  JsonRules json(made.rules);
  made.root = made.rules.declare("root");
  made.rules.define(made.root, json.object());
  return made;
}

}  // namespace infer::grammar
