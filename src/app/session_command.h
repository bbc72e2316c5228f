// The lines of an interactive session that begin with a slash: what they mean and what may be set.
// Thread safety: pure functions.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "sampling/sampler.h"

namespace infer::app {

enum class SessionVerb { kHelp, kBye, kReset, kStats, kSet };

struct SessionCommand {
  SessionVerb verb;
  std::string name;  // Of kSet; "" shows all settings.
  std::string value;
};

// What /set may change.
struct SessionSettings {
  sampling::SamplingParams sampling;
  int tokens_max = -1;
};

// Whether the line is for us and not for the model: "/" and a letter.
bool is_session_command(std::string_view line);
// kInvalidArgument for an unknown command, with the nearest one.
Result<SessionCommand> parse_session_command(std::string_view line);
// Changes one setting, or says what is allowed and changes nothing.
Status apply_setting(const std::string& name, const std::string& value, SessionSettings& settings);

std::string session_help();
std::string settings_text(const SessionSettings& settings);

}  // namespace infer::app
