// The configuration of a server: defaults, then a YAML file, then the environment (docs/formats/config.md).
//
// yaml-cpp stays inside the .cc. Hostile text is refused in bounded time: aliases count each time they are used.
// Thread safety: pure but for the file that is read.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "control/config.h"

namespace infer::app {

// Sets what the text says below `infer_os`; on an error `config` is as it was. kCorrupt: "line 4: unknown key ...".
Status apply_yaml(std::string_view text, control::Config& config);

// `path` may be "": no file. Errors name the file or the variable; kInvalidArgument for a variable.
Result<control::Config> read_config(const std::string& path,
                                    const std::function<std::optional<std::string>(const std::string&)>& environment);

}  // namespace infer::app
