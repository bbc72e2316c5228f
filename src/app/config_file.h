// The configuration of a server: defaults, then a YAML file, then the environment (docs/formats/config.md).
// Thread safety: one thread.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "base/result.h"
#include "control/config.h"

namespace infer::app {

// On top of `config`. `path` may be "": no file. Errors name the file or the variable; kInvalidArgument for a variable.
Result<control::Config> read_config(const std::string& path,
                                    const std::function<std::optional<std::string>(const std::string&)>& environment,
                                    control::Config config = {});

}  // namespace infer::app
