// Every setting, once: its key, range, default, meaning, and the place in Config that it fills. Validation, help texts,
// docs/formats/config.md and the JSON schemas come from this table and nowhere else.
//
// Documents reach it as entries without a format (JSON in api/settings_json.h, YAML in api/settings_yaml.h), so that
// both are judged by the same rules. An entry is applied as a whole document or not at all. Thread safety: constant
// data and pure functions.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"
#include "control/config.h"

namespace infer::control {

// ---- The table.

struct Choice {
  std::string_view name;
  int value = 0;
  bool is_alias = false;  // Understood, but never written.
};

// A field of an enumeration type, by the numbers of its Choices.
struct ChoiceField {
  void* field = nullptr;
  int (*get)(const void* field) = nullptr;
  void (*set)(void* field, int value) = nullptr;
};
using SettingField = std::variant<bool*, int*, double*, uint64_t*, std::string*, ChoiceField>;

enum class SettingEffect : uint8_t {
  kPolicy,   // Part of the policy: at once.
  kAtOnce,   // At once, but not part of the policy.
  kRestart,  // Read at the start only.
};

struct Setting {
  std::string_view key;            // "kv.recent_window"
  SettingField (*field)(Config&);  // Its type is the setting's type; uint64_t is a size in bytes.
  SettingEffect effect = SettingEffect::kRestart;
  double least = 0, most = 0;  // Of numbers; a size has no upper limit when most is 0.
  std::span<const Choice> choices{};
  std::string_view help;
  bool is_secret = false;     // Its value is never shown.
  bool needs_device = false;  // Steers devices besides the processor; without effect where there is none.
};

std::span<const Setting> settings();
const Setting* find_setting(std::string_view key);

// "recent_window" where no other setting ends so, else the whole key: how messages name it.
std::string_view setting_label(const Setting& setting);

// Of one setting. Sizes are uint64_t, choices their names.
using SettingValue = std::variant<bool, int64_t, uint64_t, double, std::string>;
SettingValue setting_value(const Setting& setting, const Config& config);
// As people write it: "on", "64", "2GiB", "dynamic".
std::string setting_text(const Setting& setting, const Config& config);
// What the setting takes: "16 to 512", "dynamic, disabled", "true or false".
std::string setting_range(const Setting& setting);

// ---- Documents.

struct NullValue {};
struct ListValue {};
struct SectionValue {};  // An object without members; those of others are entries of their own.
using DocumentValue = std::variant<NullValue, bool, int64_t, double, std::string, ListValue, SectionValue>;

struct DocumentEntry {
  std::string key;
  DocumentValue value;
  int line = 0;  // Of the text, from 1; 0: unknown.
};

// The key of a member: "kv" and "mode" give "kv.mode". A name with a dot in it stays apart from a path.
std::string member_key(std::string_view section, std::string_view name);

enum class SettingScope : uint8_t { kPolicy, kConfig };

// Sets what the entries name; on an error `config` is as it was. kInvalidArgument: "recent_window must be between 16
// and 512", preceded by "line 3: " where the entry has a line.
Status apply_document(std::span<const DocumentEntry> entries, SettingScope scope, Config& config);

// "kv.mode=q8,kv.recent_window=64" as entries; values as people write them. kInvalidArgument: an unknown key, no "=".
Result<std::vector<DocumentEntry>> parse_assignments(std::string_view text);

// ---- The environment.

struct EnvironmentVariable {
  std::string_view name;
  std::string_view key;  // Of the setting.
  std::span<const std::pair<std::string_view, std::string_view>>
      words{};  // Its values, where they are not the setting's.
  std::string_view help;
};
std::span<const EnvironmentVariable> environment_variables();

// Sets what the variables say that `lookup` finds; later rows of the table win. Errors name the variable.
Status apply_environment(const std::function<std::optional<std::string>(const std::string&)>& lookup, Config& config);

// ---- Texts.

// The reference for people, in Markdown: tables of all settings and variables.
std::string settings_markdown();
// The same for a terminal, at most 100 columns wide.
std::string settings_help();

}  // namespace infer::control
