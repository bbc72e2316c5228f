#include "control/settings.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <utility>

#include "base/bytes.h"
#include "base/check.h"
#include "base/format.h"
#include "base/nearest_name.h"
#include "base/quoted_text.h"
#include "control/preset.h"

namespace infer::control {

namespace {

constexpr size_t kTextBytesMax = 4096;
constexpr size_t kEntriesMax = 1000;

template <class... Fs>
struct Overloaded : Fs... {
  using Fs::operator()...;
};
template <class... Fs>
Overloaded(Fs...) -> Overloaded<Fs...>;

std::string_view leaf_of(std::string_view key) { return key.substr(key.rfind('.') + 1); }

Error wrong(std::string message) { return Error{ErrorCode::kInvalidArgument, std::move(message)}; }

Error wrong(const Setting& setting, std::string_view what) {
  return wrong(format("{} must be {}", setting_label(setting), what));
}

// ---- Values.

const char* kind_of(const DocumentValue& value) {
  return std::visit(Overloaded{[](NullValue) { return "null"; }, [](bool) { return "true or false"; },
                               [](int64_t) { return "a number"; }, [](double) { return "a number"; },
                               [](const std::string&) { return "a text"; }, [](ListValue) { return "a list"; },
                               [](SectionValue) { return "an object"; }},
                    value);
}

std::optional<double> as_number(const DocumentValue& value) {
  if (const auto* whole = std::get_if<int64_t>(&value)) return static_cast<double>(*whole);
  if (const auto* real = std::get_if<double>(&value); real && std::isfinite(*real)) return *real;
  return std::nullopt;
}

bool is_in_range(const Setting& setting, double value) {
  const bool has_top = setting.most != 0;
  return value >= setting.least && (!has_top || value <= setting.most);
}

Status set_number(const Setting& setting, const DocumentValue& value, int& field) {
  const auto number = as_number(value);
  if (!number) return wrong(setting, format("a whole number, not {}", kind_of(value)));
  if (*number != std::floor(*number)) return wrong(setting, format("a whole number, not {}", *number));
  if (!is_in_range(setting, *number)) return wrong(setting, setting_range(setting));
  field = static_cast<int>(*number);
  return {};
}

Status set_number(const Setting& setting, const DocumentValue& value, double& field) {
  const auto number = as_number(value);
  if (!number) return wrong(setting, format("a number, not {}", kind_of(value)));
  if (!is_in_range(setting, *number)) return wrong(setting, setting_range(setting));
  field = *number;
  return {};
}

Status set_size(const Setting& setting, const DocumentValue& value, uint64_t& field) {
  constexpr double kMost = 9e18;
  uint64_t bytes = 0;
  if (const auto* text = std::get_if<std::string>(&value)) {
    const auto parsed = parse_bytes(*text);
    if (!parsed) return wrong(setting, format("a size such as 2GiB or 2147483648, not {}", quoted(*text)));
    bytes = *parsed;
  } else if (const auto number = as_number(value); !number || *number != std::floor(*number)) {
    return wrong(setting, format("a size such as 2GiB or 2147483648, not {}",
                                 number ? format("{}", *number) : std::string(kind_of(value))));
  } else if (*number < 0 || *number > kMost) {
    return wrong(setting, setting_range(setting));
  } else {
    const auto* whole = std::get_if<int64_t>(&value);
    bytes = whole ? static_cast<uint64_t>(*whole) : static_cast<uint64_t>(*number);
  }
  if (!is_in_range(setting, static_cast<double>(bytes))) return wrong(setting, setting_range(setting));
  field = bytes;
  return {};
}

Status set_text(const Setting& setting, const DocumentValue& value, std::string& field) {
  const auto* text = std::get_if<std::string>(&value);
  if (!text) return wrong(setting, format("a text, not {}", kind_of(value)));
  if (text->size() > kTextBytesMax) return wrong(setting, format("at most {} bytes long", kTextBytesMax));
  if (std::any_of(text->begin(), text->end(),
                  [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; })) {
    return wrong(setting, "a text without control characters");
  }
  field = *text;
  return {};
}

Status set_choice(const Setting& setting, const DocumentValue& value, const ChoiceField& field) {
  const auto* text = std::get_if<std::string>(&value);
  for (const Choice& choice : setting.choices) {
    if (!text || *text != choice.name) continue;
    field.set(field.field, choice.value);
    return {};
  }
  return wrong(setting, format("one of {}, not {}", setting_range(setting), text ? quoted(*text) : kind_of(value)));
}

Status set_value(const Setting& setting, const DocumentValue& value, Config& config) {
  return std::visit(Overloaded{[&](bool* field) -> Status {
                                 const auto* on = std::get_if<bool>(&value);
                                 if (!on) return wrong(setting, format("true or false, not {}", kind_of(value)));
                                 *field = *on;
                                 return {};
                               },
                               [&](int* field) { return set_number(setting, value, *field); },
                               [&](double* field) { return set_number(setting, value, *field); },
                               [&](uint64_t* field) { return set_size(setting, value, *field); },
                               [&](std::string* field) { return set_text(setting, value, *field); },
                               [&](const ChoiceField& field) { return set_choice(setting, value, field); }},
                    setting.field(config));
}

// ---- Entries.

bool is_in_scope(const Setting& setting, SettingScope scope) {
  return scope == SettingScope::kConfig || setting.effect == SettingEffect::kPolicy;
}

bool is_section_in_scope(std::string_view key, SettingScope scope) {
  return std::any_of(settings().begin(), settings().end(), [&](const Setting& setting) {
    return is_in_scope(setting, scope) && setting.key.starts_with(key) && setting.key.size() > key.size() &&
           setting.key[key.size()] == '.';
  });
}

Error unknown(std::string_view key, SettingScope scope) {
  std::vector<std::string> keys, leaves;
  for (const Setting& setting : settings()) {
    if (!is_in_scope(setting, scope)) continue;
    keys.emplace_back(setting.key);
    leaves.emplace_back(leaf_of(setting.key));
  }
  std::string near = nearest_name(key, keys);
  // What stands in the wrong section is found by its last part.
  const auto leaf = std::find(leaves.begin(), leaves.end(), leaf_of(key));
  if (leaf != leaves.end()) near = keys[static_cast<size_t>(leaf - leaves.begin())];
  return wrong(format("unknown key {}{}", quoted(key), near.empty() ? "" : format("; did you mean {}?", near)));
}

Status apply_entry(const DocumentEntry& entry, SettingScope scope, Config& config) {
  const bool is_object = std::holds_alternative<SectionValue>(entry.value);
  if (is_section_in_scope(entry.key, scope)) {
    if (is_object) return {};
    return wrong(format("{} must be an object with keys of its own, not {}", entry.key, kind_of(entry.value)));
  }
  const Setting* setting = find_setting(entry.key);
  if (!setting || !is_in_scope(*setting, scope)) return unknown(entry.key, scope);
  return set_value(*setting, entry.value, config);
}

// What a preset sets comes before what a document says itself, wherever the preset stands in it.
void begin_with_preset(std::span<const DocumentEntry> entries, SettingScope scope, Config& config) {
  for (const DocumentEntry& entry : entries) {
    if (entry.key != "preset" || !apply_entry(entry, scope, config)) continue;  // What is wrong is told in its turn.
    apply_preset(config.model_parameters, config.policy);
  }
}

Status check_together(const Policy& policy) {
  const kv::LevelThresholds& levels = policy.kv.level_thresholds;
  if (levels.l1_int8 >= levels.l2_int4 && levels.l2_int4 >= levels.l3_evict) return {};
  return wrong(format("level_thresholds must not increase from L1_int8 ({}) over L2_int4 ({}) to L3_evict ({})",
                      levels.l1_int8, levels.l2_int4, levels.l3_evict));
}

// A variable's text as the setting wants it.
DocumentValue value_of_text(const Setting& setting, const std::string& text) {
  Config any;
  const SettingField field = setting.field(any);
  if (std::holds_alternative<bool*>(field)) {
    for (const char* const yes : {"true", "1", "on", "yes"}) {
      if (text == yes) return true;
    }
    for (const char* const no : {"false", "0", "off", "no"}) {
      if (text == no) return false;
    }
  }
  if (std::holds_alternative<int*>(field) || std::holds_alternative<double*>(field)) {
    double number = 0;
    const auto end = std::from_chars(text.data(), text.data() + text.size(), number);
    if (end.ec == std::errc() && end.ptr == text.data() + text.size()) return number;
  }
  return text;
}

}  // namespace

const Setting* find_setting(std::string_view key) {
  const auto at =
      std::find_if(settings().begin(), settings().end(), [&](const Setting& each) { return each.key == key; });
  return at == settings().end() ? nullptr : &*at;
}

std::string_view setting_label(const Setting& setting) {
  const std::string_view leaf = leaf_of(setting.key);
  const auto same = std::count_if(settings().begin(), settings().end(),
                                  [&](const Setting& each) { return leaf_of(each.key) == leaf; });
  return same == 1 ? leaf : setting.key;
}

std::string member_key(std::string_view section, std::string_view name) {
  const std::string last = name.find('.') == std::string_view::npos ? std::string(name) : quoted(name);
  return section.empty() ? last : format("{}.{}", section, last);
}

Status apply_document(std::span<const DocumentEntry> entries, SettingScope scope, Config& config) {
  if (entries.size() > kEntriesMax)
    return wrong(format("{} entries, at most {} are taken", entries.size(), kEntriesMax));
  Config changed = config;
  begin_with_preset(entries, scope, changed);
  for (const DocumentEntry& entry : entries) {
    Status applied = apply_entry(entry, scope, changed);
    if (applied) continue;
    if (entry.line == 0) return applied;
    return wrong(format("line {}: {}", entry.line, applied.error().message));
  }
  INFER_TRY(check_together(changed.policy));
  config = std::move(changed);
  return {};
}

Result<std::vector<DocumentEntry>> parse_assignments(std::string_view text) {
  std::vector<DocumentEntry> entries;
  while (!text.empty()) {
    const std::string_view part = text.substr(0, text.find(','));
    text.remove_prefix(std::min(text.size(), part.size() + 1));
    const size_t equals = part.find('=');
    if (equals == std::string_view::npos) {
      return wrong(format("{} must be like kv.mode=q8", quoted(std::string(part))));
    }
    const std::string key(part.substr(0, equals));
    const Setting* const setting = find_setting(key);
    if (!setting) return unknown(key, SettingScope::kConfig);
    entries.push_back({key, value_of_text(*setting, std::string(part.substr(equals + 1)))});
  }
  return entries;
}

Status apply_environment(const std::function<std::optional<std::string>(const std::string&)>& lookup, Config& config) {
  Config changed = config;
  for (const EnvironmentVariable& variable : environment_variables()) {
    std::optional<std::string> text = lookup(std::string(variable.name));
    if (!text || text->empty()) continue;
    if (!variable.words.empty()) {
      const auto word = std::find_if(variable.words.begin(), variable.words.end(),
                                     [&](const auto& each) { return each.first == *text; });
      if (word == variable.words.end()) {
        return wrong(format("{}: must be {} or {}, not {}", variable.name, variable.words[0].first,
                            variable.words[1].first, quoted(*text)));
      }
      if (word->second.empty()) continue;
      text = std::string(word->second);
    }
    const Setting* setting = find_setting(variable.key);
    INFER_CHECK(setting != nullptr);
    if (const Status set = set_value(*setting, value_of_text(*setting, *text), changed); !set) {
      return wrong(format("{}: {}", variable.name, set.error().message));
    }
  }
  config = std::move(changed);
  return {};
}

}  // namespace infer::control
