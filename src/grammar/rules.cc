#include "grammar/rules.h"

#include <algorithm>

#include "base/check.h"

namespace infer::grammar {

std::vector<CharacterRange> normalized(std::vector<CharacterRange> ranges) {
  std::sort(ranges.begin(), ranges.end(),
            [](const CharacterRange& a, const CharacterRange& b) { return a.first < b.first; });
  std::vector<CharacterRange> joined;
  for (const CharacterRange& range : ranges) {
    INFER_CHECK(range.first <= range.last && range.last <= kCharacterMax);
    if (!joined.empty() && range.first <= joined.back().last + 1) {
      joined.back().last = std::max(joined.back().last, range.last);
    } else {
      joined.push_back(range);
    }
  }
  std::vector<CharacterRange> out;
  for (const CharacterRange& range : joined) {
    if (range.first < 0xD800) out.push_back({range.first, std::min(range.last, 0xD7FFu)});
    if (range.last > 0xDFFF) out.push_back({std::max(range.first, 0xE000u), range.last});
  }
  return out;
}

std::vector<CharacterRange> complement(std::vector<CharacterRange> ranges) {
  std::vector<CharacterRange> out;
  uint32_t next = 0;
  for (const CharacterRange& range : normalized(std::move(ranges))) {
    if (range.first > next) out.push_back({next, range.first - 1});
    next = range.last + 1;
  }
  if (next <= kCharacterMax) out.push_back({next, kCharacterMax});
  return normalized(std::move(out));
}

void append_utf8(std::string& out, uint32_t character) {
  INFER_CHECK(is_character(character));
  const auto add = [&out](uint32_t byte) { out += static_cast<char>(byte); };
  if (character < 0x80) {
    add(character);
    return;
  }
  if (character < 0x800) {
    add(0xC0 | character >> 6);
  } else {
    if (character < 0x10000) {
      add(0xE0 | character >> 12);
    } else {
      add(0xF0 | character >> 18);
      add(0x80 | (character >> 12 & 0x3F));
    }
    add(0x80 | (character >> 6 & 0x3F));
  }
  add(0x80 | (character & 0x3F));
}

std::optional<std::u32string> find_characters(std::string_view utf8) {
  std::u32string out;
  for (size_t i = 0; i < utf8.size();) {
    const auto lead = static_cast<unsigned char>(utf8[i]);
    const size_t length = lead < 0x80 ? 1 : lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    if (i + length > utf8.size()) return std::nullopt;
    uint32_t value = length == 1 ? lead : lead & (0xFFu >> (length + 1));
    for (size_t j = 1; j < length; ++j) value = value << 6 | (static_cast<unsigned char>(utf8[i + j]) & 0x3Fu);
    std::string back;
    if (!is_character(value)) return std::nullopt;
    append_utf8(back, value);
    if (back != utf8.substr(i, length)) return std::nullopt;
    out += static_cast<char32_t>(value);
    i += length;
  }
  return out;
}

ExprId Rules::add(Expr expr) {
  exprs_.push_back(expr);
  return static_cast<ExprId>(exprs_.size() - 1);
}

ExprId Rules::text(std::string_view utf8) {
  const auto begin = static_cast<uint32_t>(texts_.size());
  texts_ += utf8;
  return add({.kind = Kind::kText, .begin = begin, .count = static_cast<uint32_t>(utf8.size())});
}

ExprId Rules::characters(std::vector<CharacterRange> ranges) {
  const std::vector<CharacterRange> sorted = normalized(std::move(ranges));
  const auto begin = static_cast<uint32_t>(ranges_.size());
  ranges_.insert(ranges_.end(), sorted.begin(), sorted.end());
  return add({.kind = Kind::kCharacters, .begin = begin, .count = static_cast<uint32_t>(sorted.size())});
}

ExprId Rules::with_children(Kind kind, std::span<const ExprId> parts) {
  const auto begin = static_cast<uint32_t>(children_.size());
  uint32_t depth = 0;
  for (const ExprId part : parts) {
    INFER_CHECK(part < exprs_.size());
    depth = std::max(depth, exprs_[part].depth);
    children_.push_back(part);
  }
  return add({.kind = kind, .begin = begin, .count = static_cast<uint32_t>(parts.size()), .depth = depth + 1});
}

ExprId Rules::sequence(std::span<const ExprId> parts) {
  return parts.size() == 1 ? parts[0] : with_children(Kind::kSequence, parts);
}

ExprId Rules::choice(std::span<const ExprId> parts) {
  return parts.size() == 1 ? parts[0] : with_children(Kind::kChoice, parts);
}

ExprId Rules::repeat(ExprId body, uint32_t least, uint32_t most) {
  INFER_CHECK(least <= most && least != kUnbounded);
  if (least == 1 && most == 1) return body;
  const ExprId id = with_children(Kind::kRepeat, std::span(&body, 1));
  exprs_[id].least = least;
  exprs_[id].most = most;
  return id;
}

ExprId Rules::call(RuleId rule) {
  INFER_CHECK(rule < rules_.size());
  return add({.kind = Kind::kCall, .begin = rule});
}

RuleId Rules::declare(std::string name, uint32_t line) {
  rules_.push_back({.name = std::move(name), .line = line, .defined = false, .body = 0});
  return static_cast<RuleId>(rules_.size() - 1);
}

void Rules::define(RuleId rule, ExprId body) {
  INFER_CHECK(rule < rules_.size() && body < exprs_.size() && !rules_[rule].defined);
  rules_[rule].defined = true;
  rules_[rule].body = body;
}

}  // namespace infer::grammar
