#include "api/schema_numbers.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "base/format.h"

namespace infer::api {
namespace {

using grammar::ExprId;
using MaybeExpr = std::optional<ExprId>;

constexpr uint32_t kDigitsMax = 16;
constexpr uint64_t kUnboundedMax = 9'999'999'999'999'999;  // 16 digits.
constexpr uint64_t kMultipleMax = 1000;
constexpr double kBoundMax = 1e15;  // Of numbers that are not integers.

// A bound as decimal digits: `whole`.`fraction`, not negative.
struct Decimal {
  uint64_t whole = 0;
  std::string fraction;
  bool open = false;  // The bound itself is left out.

  bool is_zero() const { return whole == 0 && fraction.find_first_not_of('0') == std::string::npos; }
};

struct Bound {
  double value = 0;
  bool open = false;
};

struct Bounds {
  std::optional<Bound> least, most;
  std::optional<double> multiple;
};

class NumberWriter {
 public:
  explicit NumberWriter(grammar::JsonRules& json) : json_(json), rules_(json.rules()) {}

  // Integers of [least, most] that are multiples.
  MaybeExpr integers(std::optional<int64_t> least, std::optional<int64_t> most, uint64_t multiple);
  // Numbers with at most so many digits behind the point.
  MaybeExpr numbers(const Bounds& bounds, uint32_t fraction_digits);

 private:
  MaybeExpr naturals(uint64_t least, uint64_t most);  // least >= 1.
  MaybeExpr of_length(const std::string& low, const std::string& high);
  MaybeExpr digits_from(const std::string& low, const std::string& high, size_t at, bool at_low, bool at_high,
                        uint64_t remainder);
  MaybeExpr free_digits(size_t count, uint64_t remainder);
  MaybeExpr magnitudes(const Decimal& least, const std::optional<Decimal>& most);
  MaybeExpr fraction(const Decimal* least, const Decimal* most);
  MaybeExpr fraction_from(const Decimal* least, const Decimal* most, size_t at);
  static bool may_stop(const Decimal* least, const Decimal* most, size_t at);

  ExprId digit(char low, char high) {
    return rules_.characters({{static_cast<uint32_t>(low), static_cast<uint32_t>(high)}});
  }
  ExprId digits(uint32_t least, uint32_t most) { return rules_.repeat(digit('0', '9'), least, most); }
  MaybeExpr one_of(const std::vector<ExprId>& alternatives) {
    if (alternatives.empty()) return std::nullopt;
    return rules_.choice(alternatives);
  }

  grammar::JsonRules& json_;
  grammar::Rules& rules_;
  uint64_t multiple_ = 1;
  uint32_t fraction_digits_ = kDigitsMax;
  std::map<std::pair<size_t, uint64_t>, MaybeExpr> free_;
};

uint64_t magnitude(int64_t value) {
  return value < 0 ? ~static_cast<uint64_t>(value) + 1 : static_cast<uint64_t>(value);
}

MaybeExpr NumberWriter::integers(std::optional<int64_t> least, std::optional<int64_t> most, uint64_t multiple) {
  if (!least && !most && multiple == 1) return json_.integer();
  if (least && most && *least > *most) return std::nullopt;
  multiple_ = multiple;
  free_.clear();
  std::vector<ExprId> alternatives;
  if (!least || *least < 0) {
    const uint64_t nearest = most && *most < 0 ? magnitude(*most) : 1;
    const uint64_t farthest = least ? magnitude(*least) : std::max(kUnboundedMax, nearest);
    if (const MaybeExpr below_zero = naturals(nearest, farthest)) {
      alternatives.push_back(rules_.sequence({rules_.text("-"), *below_zero}));
    }
  }
  if ((!least || *least <= 0) && (!most || *most >= 0)) alternatives.push_back(rules_.text("0"));
  if (!most || *most > 0) {
    const uint64_t nearest = least && *least > 0 ? magnitude(*least) : 1;
    const uint64_t farthest = most ? magnitude(*most) : std::max(kUnboundedMax, nearest);
    if (const MaybeExpr above_zero = naturals(nearest, farthest)) alternatives.push_back(*above_zero);
  }
  return one_of(alternatives);
}

// "1000" for 4.
std::string least_of_length(size_t length) {
  std::string digits(length, '0');
  digits[0] = '1';
  return digits;
}

MaybeExpr NumberWriter::naturals(uint64_t least, uint64_t most) {
  if (least > most) return std::nullopt;
  const std::string low = format("{}", least), high = format("{}", most);
  std::vector<ExprId> alternatives;
  const auto add = [&](const MaybeExpr& expr) {
    if (expr) alternatives.push_back(*expr);
  };
  // Of lengths for which all numbers are within the bounds one rule says it all.
  const bool all_of_low = low == least_of_length(low.size()), all_of_high = high == std::string(high.size(), '9');
  const size_t first = low.size() + (all_of_low ? 0 : 1), last = high.size() - (all_of_high ? 0 : 1);
  if (multiple_ == 1 && first <= last && first > 0) {
    if (first > low.size()) add(of_length(low, std::string(low.size(), '9')));
    add(rules_.sequence({digit('1', '9'), digits(static_cast<uint32_t>(first - 1), static_cast<uint32_t>(last - 1))}));
    if (last < high.size()) add(of_length(least_of_length(high.size()), high));
    return one_of(alternatives);
  }
  for (size_t length = low.size(); length <= high.size(); ++length) {
    add(of_length(length == low.size() ? low : least_of_length(length),
                  length == high.size() ? high : std::string(length, '9')));
  }
  return one_of(alternatives);
}

MaybeExpr NumberWriter::of_length(const std::string& low, const std::string& high) {
  return digits_from(low, high, 0, true, true, 0);
}

// The digits from `at` on, where those before are the beginning of the bounds that are still to be watched.
MaybeExpr NumberWriter::digits_from(const std::string& low, const std::string& high, size_t at, bool at_low,
                                    bool at_high, uint64_t remainder) {
  if (!at_low && !at_high) return free_digits(low.size() - at, remainder);
  if (at == low.size()) return remainder == 0 ? MaybeExpr(rules_.text("")) : std::nullopt;
  const char first = at_low ? low[at] : '0', last = at_high ? high[at] : '9';
  std::vector<ExprId> alternatives;
  for (char d = first; d <= last;) {
    const bool stays_low = at_low && d == low[at], stays_high = at_high && d == high[at];
    char until = d;  // Digits that are alike.
    if (multiple_ == 1 && !stays_low && !stays_high) until = at_high ? static_cast<char>(last - 1) : last;
    const uint64_t next = multiple_ == 1 ? 0 : (remainder * 10 + static_cast<uint64_t>(d - '0')) % multiple_;
    if (const MaybeExpr rest = digits_from(low, high, at + 1, stays_low, stays_high, next)) {
      alternatives.push_back(rules_.sequence({digit(d, until), *rest}));
    }
    d = static_cast<char>(until + 1);
  }
  return one_of(alternatives);
}

MaybeExpr NumberWriter::free_digits(size_t count, uint64_t remainder) {
  if (multiple_ == 1) return digits(static_cast<uint32_t>(count), static_cast<uint32_t>(count));
  if (count == 0) return remainder == 0 ? MaybeExpr(rules_.text("")) : std::nullopt;
  const auto known = free_.find({count, remainder});
  if (known != free_.end()) return known->second;
  std::vector<ExprId> alternatives;
  for (char d = '0'; d <= '9'; ++d) {
    const uint64_t next = (remainder * 10 + static_cast<uint64_t>(d - '0')) % multiple_;
    if (const MaybeExpr rest = free_digits(count - 1, next)) {
      alternatives.push_back(rules_.sequence({digit(d, d), *rest}));
    }
  }
  MaybeExpr made;
  if (!alternatives.empty()) {
    const grammar::RuleId rule = rules_.declare(format("digits-{}-{}", count, remainder));
    rules_.define(rule, rules_.choice(alternatives));
    made = rules_.call(rule);
  }
  free_[{count, remainder}] = made;
  return made;
}

// ---- numbers with a fraction ----------------------------------------------------------------------------------------

// Exact: the shortest digits that give the same double.
Decimal decimal_of(double value, bool open) {
  char text[400];  // The smallest double has 324 digits behind the point.
  const auto end = std::to_chars(text, text + sizeof text, value, std::chars_format::fixed);
  const std::string_view written(text, static_cast<size_t>(end.ptr - text));
  const size_t point = std::min(written.find('.'), written.size());
  Decimal out{0, std::string(written.substr(std::min(point + 1, written.size()))), open};
  std::from_chars(written.data(), written.data() + point, out.whole);
  return out;
}

MaybeExpr NumberWriter::numbers(const Bounds& bounds, uint32_t fraction_digits) {
  fraction_digits_ = fraction_digits;
  multiple_ = 1;
  const auto decimal = [](const std::optional<Bound>& bound) -> std::optional<Decimal> {
    if (!bound) return std::nullopt;
    return decimal_of(std::fabs(bound->value), bound->open);
  };
  const std::optional<Decimal> least = decimal(bounds.least), most = decimal(bounds.most);
  const bool least_below = !bounds.least || bounds.least->value < 0,
             most_above = !bounds.most || bounds.most->value > 0;
  std::vector<ExprId> alternatives;
  if (least_below) {  // Without -0.
    const Decimal nearest = most && bounds.most->value < 0 ? *most : Decimal{0, "", true};
    if (const MaybeExpr below_zero = magnitudes(nearest, least)) {
      alternatives.push_back(rules_.sequence({rules_.text("-"), *below_zero}));
    }
  }
  const bool has_zero =
      (!bounds.least || bounds.least->value < 0 || (bounds.least->value == 0 && !bounds.least->open)) &&
      (!bounds.most || bounds.most->value > 0 || (bounds.most->value == 0 && !bounds.most->open));
  if (most_above) {
    const Decimal nearest = least && !least_below ? *least : Decimal{0, "", !has_zero};
    if (const MaybeExpr above_zero = magnitudes(nearest, most)) alternatives.push_back(*above_zero);
  } else if (has_zero) {
    alternatives.push_back(rules_.text("0"));
  }
  return one_of(alternatives);
}

MaybeExpr NumberWriter::magnitudes(const Decimal& least, const std::optional<Decimal>& most) {
  std::vector<ExprId> alternatives;
  const auto add = [&](uint64_t whole, const MaybeExpr& rest) {
    if (rest) alternatives.push_back(rules_.sequence({rules_.text(format("{}", whole)), *rest}));
  };
  if (most && most->whole < least.whole) return std::nullopt;
  if (most && most->whole == least.whole) {
    add(least.whole, fraction(&least, &*most));
    return one_of(alternatives);
  }
  add(least.whole, fraction(&least, nullptr));
  if (const MaybeExpr between = naturals(least.whole + 1, most ? most->whole - 1 : kUnboundedMax)) {
    alternatives.push_back(rules_.sequence({*between, *fraction(nullptr, nullptr)}));
  }
  if (most) add(most->whole, fraction(nullptr, &*most));
  return one_of(alternatives);
}

// Whether a fraction may end before its digit `at`, having followed the bounds (those that are not null) so far.
bool NumberWriter::may_stop(const Decimal* least, const Decimal* most, size_t at) {
  const auto rest_is_zero = [at](const Decimal& bound) {
    return at >= bound.fraction.size() || bound.fraction.find_first_not_of('0', at) == std::string::npos;
  };
  if (least && (!rest_is_zero(*least) || least->open)) return false;
  return !most || !rest_is_zero(*most) || !most->open;
}

MaybeExpr NumberWriter::fraction(const Decimal* least, const Decimal* most) {
  const MaybeExpr more = fraction_digits_ > 0 ? fraction_from(least, most, 0) : std::nullopt;
  const bool may_be_none = may_stop(least, most, 0);
  if (!more) return may_be_none ? MaybeExpr(rules_.text("")) : std::nullopt;
  const ExprId written = rules_.sequence({rules_.text("."), *more});
  return may_be_none ? rules_.optional(written) : written;
}

// At least one digit more, from `at` on.
MaybeExpr NumberWriter::fraction_from(const Decimal* least, const Decimal* most, size_t at) {
  if (at >= fraction_digits_) return std::nullopt;
  const auto left = static_cast<uint32_t>(fraction_digits_ - at);
  if (!least && !most) return digits(1, left);
  const auto digit_of = [at](const Decimal& bound) { return at < bound.fraction.size() ? bound.fraction[at] : '0'; };
  const char first = least ? digit_of(*least) : '0', last = most ? digit_of(*most) : '9';
  std::vector<ExprId> alternatives;
  for (char d = first; d <= last;) {
    const Decimal* const low = least && d == first ? least : nullptr;
    const Decimal* const high = most && d == last ? most : nullptr;
    const char until = low || high ? d : most ? static_cast<char>(last - 1) : last;
    const MaybeExpr more = fraction_from(low, high, at + 1);
    if (may_stop(low, high, at + 1)) {
      alternatives.push_back(rules_.sequence({digit(d, until), more ? rules_.optional(*more) : rules_.text("")}));
    } else if (more) {
      alternatives.push_back(rules_.sequence({digit(d, until), *more}));
    }
    d = static_cast<char>(until + 1);
  }
  return one_of(alternatives);
}

// ---- what the schemas say -------------------------------------------------------------------------------------------

Result<double> number_at(const LocatedSchema& value) {
  if (const auto number = value.schema->as_double()) return *number;
  return schema_error(ErrorCode::kInvalidArgument, value.pointer,
                      format("must be a number, not {}", value.schema->dump()));
}

Result<Bounds> bounds_of(const SchemaGoal& goal) {
  Bounds bounds;
  for (const bool open : {false, true}) {
    for (const LocatedSchema& value : goal.keyword(open ? "exclusiveMinimum" : "minimum")) {
      INFER_ASSIGN(const double number, number_at(value));
      if (!bounds.least || number >= bounds.least->value) bounds.least = Bound{number, open};
    }
    for (const LocatedSchema& value : goal.keyword(open ? "exclusiveMaximum" : "maximum")) {
      INFER_ASSIGN(const double number, number_at(value));
      if (!bounds.most || number <= bounds.most->value) bounds.most = Bound{number, open};
    }
  }
  for (const LocatedSchema& value : goal.keyword("multipleOf")) {
    INFER_ASSIGN(const double number, number_at(value));
    if (bounds.multiple && *bounds.multiple != number) {
      return schema_error(ErrorCode::kUnsupported, value.pointer,
                          "two different multiples at once are not supported: write "
                          "their least common one");
    }
    bounds.multiple = number;
  }
  return bounds;
}

// 2 for 0.01; nullopt for what is no such power of ten.
std::optional<uint32_t> decimal_places(double multiple) {
  double power = 1;
  for (uint32_t places = 0; places <= 15; ++places, power *= 10) {
    if (multiple == 1 / power) return places;
  }
  return std::nullopt;
}

// The integer at a bound, moved inwards: 1.5 from below is 2.
Result<std::optional<int64_t>> integer_bound(const std::optional<Bound>& bound, bool is_least, std::string_view place) {
  if (!bound) return std::optional<int64_t>();
  double value = is_least ? std::ceil(bound->value) : std::floor(bound->value);
  if (std::fabs(value) > 9.2e18) {
    return schema_error(ErrorCode::kUnsupported, place,
                        "bounds of integers must lie within 9.2e18 of zero: leave them out");
  }
  auto whole = static_cast<int64_t>(value);
  if (bound->open && value == bound->value) whole += is_least ? 1 : -1;
  return std::optional<int64_t>(whole);
}

}  // namespace

Result<MaybeExpr> number_rules(const SchemaGoal& goal, uint32_t types, grammar::JsonRules& json) {
  INFER_ASSIGN(const Bounds bounds, bounds_of(goal));
  NumberWriter writer(json);
  const std::string place = goal.place();
  uint64_t multiple = 1;
  std::optional<uint32_t> places;
  if (bounds.multiple) {
    places = decimal_places(*bounds.multiple);
    const double value = *bounds.multiple;
    if (value >= 1 && value <= static_cast<double>(kMultipleMax) && value == std::floor(value)) {
      multiple = static_cast<uint64_t>(value);
    } else if (!places || value <= 0) {
      return schema_error(ErrorCode::kUnsupported, place,
                          format("multipleOf must be a whole number up to {}, or 0.1, 0.01 and so on", kMultipleMax));
    }
  }
  const bool integers_only = (types & kNumberBit) == 0 || (bounds.multiple && *bounds.multiple >= 1);
  if (integers_only) {
    INFER_ASSIGN(const auto least, integer_bound(bounds.least, true, place));
    INFER_ASSIGN(const auto most, integer_bound(bounds.most, false, place));
    return writer.integers(least, most, multiple);
  }
  if (!bounds.least && !bounds.most && !places) return MaybeExpr(json.number());
  for (const auto& bound : {bounds.least, bounds.most}) {
    if (!bound || std::fabs(bound->value) <= kBoundMax) continue;
    return schema_error(ErrorCode::kUnsupported, place,
                        "bounds of numbers must lie within 1e15 of zero: leave them out");
  }
  return writer.numbers(bounds, places.value_or(kDigitsMax));
}

}  // namespace infer::api
