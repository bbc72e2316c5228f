#include <algorithm>
#include <array>

#include "base/check.h"
#include "base/format.h"
#include "control/settings.h"

namespace infer::control {

namespace {

std::string size_text(uint64_t bytes) {
  constexpr uint64_t kGibibyte = uint64_t{1} << 30, kMegabyte = 1'000'000;
  if (bytes >= kGibibyte && bytes % kGibibyte == 0) return format("{}GiB", bytes / kGibibyte);
  if (bytes >= kMegabyte && bytes % kMegabyte == 0) return format("{}MB", bytes / kMegabyte);
  return format("{}", bytes);
}

std::string names_of(std::span<const Choice> choices) {
  std::string names;
  for (const Choice& choice : choices) {
    if (choice.is_alias) continue;
    if (!names.empty()) names += ", ";
    names += choice.name;
  }
  return names;
}

std::string_view choice_name(const Setting& setting, int value) {
  const auto at = std::find_if(setting.choices.begin(), setting.choices.end(),
                               [&](const Choice& choice) { return choice.value == value; });
  INFER_CHECK(at != setting.choices.end());
  return at->name;
}

std::string type_text(const Setting& setting) {
  Config any;
  const SettingField field = setting.field(any);
  if (std::holds_alternative<ChoiceField>(field)) return names_of(setting.choices);
  if (std::holds_alternative<bool*>(field)) return "true, false";
  if (std::holds_alternative<std::string*>(field)) return "text";
  if (std::holds_alternative<uint64_t*>(field)) {
    return setting.least > 0 ? format("size, at least {}", size_text(static_cast<uint64_t>(setting.least))) : "size";
  }
  return format("{} to {}", setting.least, setting.most);
}

std::string_view effect_text(SettingEffect effect) {
  switch (effect) {
    case SettingEffect::kPolicy: return "at once (policy)";
    case SettingEffect::kAtOnce: return "at once";
    case SettingEffect::kRestart: return "at the next start";
  }
  INFER_CHECK(false);
}

// For `width` columns, each further line indented.
std::string wrapped(std::string_view text, size_t width, std::string_view indent) {
  std::string out;
  size_t column = 0;
  while (!text.empty()) {
    const size_t end = std::min(text.find(' '), text.size());
    if (column > 0 && column + 1 + end > width) {
      out.append("\n").append(indent);
      column = 0;
    }
    if (column > 0) out += ' ', ++column;
    out += text.substr(0, end);
    column += end;
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

}  // namespace

SettingValue setting_value(const Setting& setting, const Config& config) {
  Config copy = config;  // The table gives places to write to.
  const SettingField field = setting.field(copy);
  if (const auto* choice = std::get_if<ChoiceField>(&field)) {
    return std::string(choice_name(setting, choice->get(choice->field)));
  }
  if (const auto* on = std::get_if<bool*>(&field)) return **on;
  if (const auto* whole = std::get_if<int*>(&field)) return int64_t{**whole};
  if (const auto* real = std::get_if<double*>(&field)) return **real;
  if (const auto* size = std::get_if<uint64_t*>(&field)) return **size;
  return *std::get<std::string*>(field);
}

std::string setting_text(const Setting& setting, const Config& config) {
  const SettingValue value = setting_value(setting, config);
  if (const auto* text = std::get_if<std::string>(&value)) return *text;
  if (const auto* on = std::get_if<bool>(&value)) return *on ? "true" : "false";
  if (const auto* whole = std::get_if<int64_t>(&value)) return format("{}", *whole);
  if (const auto* real = std::get_if<double>(&value)) return format("{}", *real);
  return size_text(std::get<uint64_t>(value));
}

std::string setting_range(const Setting& setting) {
  Config any;
  const SettingField field = setting.field(any);
  if (std::holds_alternative<uint64_t*>(field)) {
    return format("at least {} bytes ({})", static_cast<uint64_t>(setting.least),
                  size_text(static_cast<uint64_t>(setting.least)));
  }
  if (std::holds_alternative<int*>(field) || std::holds_alternative<double*>(field)) {
    return format("between {} and {}", setting.least, setting.most);
  }
  return type_text(setting);
}

std::string settings_markdown() {
  const Config defaults;
  std::string text = "| key | values | default | takes effect | meaning |\n|---|---|---|---|---|\n";
  for (const Setting& setting : settings()) {
    const std::string value = setting_text(setting, defaults);
    text += format("| `{}` | {} | {} | {} | {} |\n", setting.key, type_text(setting), value.empty() ? "empty" : value,
                   effect_text(setting.effect), setting.help);
  }
  text += "\n| variable | setting | meaning |\n|---|---|---|\n";
  for (const EnvironmentVariable& variable : environment_variables()) {
    text += format("| `{}` | `{}` | {} |\n", variable.name, variable.key, variable.help);
  }
  return text;
}

std::string settings_help() {
  constexpr size_t kWidth = 100, kIndent = 8;
  const Config defaults;
  const std::string indent(kIndent, ' ');
  std::string text;
  for (const Setting& setting : settings()) {
    const std::string value = setting_text(setting, defaults);
    text += format("  {}{}\n", setting.key, value.empty() ? "" : format(" = {}", value));
    text += indent + wrapped(format("{} ({})", setting.help, type_text(setting)), kWidth - kIndent, indent) + "\n";
  }
  text += "\nEnvironment variables, which win over the file:\n\n";
  for (const EnvironmentVariable& variable : environment_variables()) {
    text += format("  {} ({})\n", variable.name, variable.key);
    text += indent + wrapped(variable.help, kWidth - kIndent, indent) + "\n";
  }
  return text;
}

}  // namespace infer::control
