// Fuzzes the reader of configuration files: any text gives a configuration within its ranges or an error, in bounded
// time, and an error leaves the configuration as it was.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "api/settings_json.h"
#include "api/settings_yaml.h"
#include "base/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace infer;
  const std::string text(reinterpret_cast<const char*>(data), size);
  control::Config config;
  const Status read = api::apply_yaml(text, config);
  const std::string after = api::settings_json(config, control::SettingScope::kConfig).dump();
  if (read) {
    // What was taken is taken again, from what is shown of it.
    control::Config again;
    config.server.token.clear();
    const auto entries = api::document_entries(api::settings_json(config, control::SettingScope::kPolicy));
    INFER_CHECK(entries && control::apply_document(*entries, control::SettingScope::kPolicy, again));
  } else {
    INFER_CHECK(!read.error().message.empty());
    INFER_CHECK(after == api::settings_json({}, control::SettingScope::kConfig).dump());
  }
  return 0;
}
