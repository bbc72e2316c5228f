// The settings of control/settings.h as JSON: documents in, documents and their schema out.
// Thread safety: pure functions.
#pragma once

#include <string_view>
#include <vector>

#include "api/json.h"
#include "base/result.h"
#include "control/settings.h"

namespace infer::api {

// One entry per member that is not an object with members. kInvalidArgument: not an object.
Result<std::vector<control::DocumentEntry>> document_entries(const Json& document);

// Sets what the text, a JSON object, names; on an error `config` is as it was. kInvalidArgument says what is wrong.
Status apply_json(std::string_view text, control::SettingScope scope, control::Config& config);

// {"kv":{"mode":"dynamic", ...}, ...}; secrets are "set" or null.
Json settings_json(const control::Config& config, control::SettingScope scope);

// What apply_json takes, as JSON Schema (2020-12).
Json settings_schema(control::SettingScope scope);

}  // namespace infer::api
