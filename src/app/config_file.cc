#include "app/config_file.h"

#include "api/settings_yaml.h"
#include "base/format.h"
#include "control/settings.h"
#include "os/text_file.h"

namespace infer::app {
namespace {

constexpr size_t kFileBytesMax = 1 << 20;

}  // namespace

Result<control::Config> read_config(const std::string& path,
                                    const std::function<std::optional<std::string>(const std::string&)>& environment,
                                    control::Config config) {
  if (!path.empty()) {
    INFER_ASSIGN(const std::string text, os::read_text_file(path, kFileBytesMax));
    if (const Status applied = api::apply_yaml(text, config); !applied) {
      return Error{ErrorCode::kCorrupt, format("{}: {}", path, applied.error().message)};
    }
  }
  INFER_TRY(control::apply_environment(environment, config));
  return config;
}

}  // namespace infer::app
