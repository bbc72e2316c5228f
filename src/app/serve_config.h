// What a server goes by: defaults, configuration file, environment and flags, in this order, later ones winning.
// Thread safety: pure but for the file that is read.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "app/command_line.h"
#include "base/result.h"
#include "control/config.h"

namespace infer::app {

// Both say the same wherever both can say it.
struct ServeConfig {
  control::Config config;
  ServeCommand command;
};

// How many parameters the model of this path has. The preset `auto` asks; without it such a preset sets nothing.
using CountParameters = std::function<Result<uint64_t>(const std::string& path)>;

// Errors name the file, the variable, or the key that a flag stands for.
Result<ServeConfig> configure_serve(const ServeCommand& command,
                                    const std::function<std::optional<std::string>(const std::string&)>& environment,
                                    const CountParameters& count_parameters = {});

}  // namespace infer::app
