// The settings of control/settings.h as YAML: the text of a configuration file (docs/formats/config.md).
//
// yaml-cpp stays inside the .cc. Hostile text is refused in bounded time: aliases count each time they are used.
// Thread safety: a pure function.
#pragma once

#include <string_view>

#include "base/result.h"
#include "control/config.h"

namespace infer::api {

// Sets what the text says below `infer_os`; on an error `config` is as it was. kCorrupt: "line 4: unknown key ...".
Status apply_yaml(std::string_view text, control::Config& config);

}  // namespace infer::api
