#include "app/serve_config.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "app/config_file.h"
#include "control/settings.h"

namespace infer::app {
namespace {

using control::DocumentEntry;

bool was_given(const ServeCommand& command, std::string_view flag) {
  return std::find(command.given.begin(), command.given.end(), flag) != command.given.end();
}

// The flags that were written, as settings, so that they are judged like those of a file.
std::vector<DocumentEntry> flag_entries(const ServeCommand& command) {
  const ModelChoice& model = command.model;
  const auto size = [](uint64_t bytes) { return control::DocumentValue(static_cast<int64_t>(bytes)); };
  const auto number = [](int value) { return control::DocumentValue(int64_t{value}); };
  struct Row {
    std::string_view flag, key;
    control::DocumentValue value;
  };
  const std::string mode(kv::mode_name(model.levels.mode));
  const std::vector<Row> rows{
      {"--model", "model.path", model.path},
      {"--ctx", "model.context", number(model.context)},
      {"--threads", "model.threads", number(model.threads)},
      {"--memory-limit", "model.memory_limit", size(model.memory_limit_bytes)},
      {"--kv-spill", "model.spill_folder", model.spill_folder},
      {"--kv-spill-limit", "model.spill_limit", size(model.spill_limit_bytes)},
      {"--prefix-cache", "model.prefix_folder", model.prefix_folder},
      {"--prefix-cache-limit", "model.prefix_limit", size(model.prefix_limit_bytes)},
      {"--draft", "model.draft_path", model.draft_path},
      {"--model-draft", "model.draft_path", model.draft_path},
      {"--draft-max", "model.draft_max", number(model.draft_max)},
      {"--preset", "preset", command.preset},
      {"--kv", "kv.mode", mode},
      {"--kv", "model.kv_floats", model.kv_floats},
      {"--kv-preset", "kv.mode", mode},
      {"--kv-preset", "kv.recent_window", number(model.levels.recent_window)},
      {"--kv-window", "kv.recent_window", number(model.levels.recent_window)},
      {"--host", "server.host", command.host},
      {"--port", "server.port", number(command.port.value_or(0))},
      {"--port", "server.random_port", false},
      {"--parallel", "server.running_max", number(command.parallel)},
      {"--deadline", "deadlines.request_ms", std::round(command.deadline.ms())},
  };
  std::vector<DocumentEntry> entries;
  for (const Row& row : rows) {
    if (was_given(command, row.flag)) entries.push_back({std::string(row.key), row.value});
  }
  return entries;
}

ServeCommand filled(const control::Config& config, ServeCommand command) {
  ModelChoice& model = command.model;
  model.path = config.model.path;
  model.context = config.model.context;
  model.threads = config.model.threads;
  model.memory_limit_bytes = config.model.memory_limit;
  model.kv_floats = config.model.kv_floats;
  model.spill_folder = config.model.spill_folder;
  model.spill_limit_bytes = config.model.spill_limit;
  model.prefix_folder = config.model.prefix_folder;
  model.prefix_limit_bytes = config.model.prefix_limit;
  model.draft_path = config.model.draft_path;
  model.draft_max = config.model.draft_max;
  model.levels =
      control::level_policy(config.enabled ? config.policy : control::baseline_of(config.policy), model.levels);
  command.host = config.server.host;
  command.port = config.server.random_port ? 0 : config.server.port;
  command.parallel = config.server.running_max;
  command.deadline = Duration::from_ms(config.deadlines.request_ms);
  return command;
}

}  // namespace

Result<ServeConfig> configure_serve(const ServeCommand& command,
                                    const std::function<std::optional<std::string>(const std::string&)>& environment,
                                    const CountParameters& count_parameters) {
  const auto read = [&](control::Config config) -> Result<control::Config> {
    INFER_ASSIGN(config, read_config(command.config, environment, std::move(config)));
    INFER_TRY(control::apply_document(flag_entries(command), control::SettingScope::kConfig, config));
    return config;
  };
  INFER_ASSIGN(control::Config config, read({}));
  if (config.policy.preset == control::Preset::kAuto && count_parameters) {
    // All of it once more, now that the model is known: what was said itself wins over the preset again.
    control::Config known;
    INFER_ASSIGN(known.model_parameters, count_parameters(config.model.path));
    INFER_ASSIGN(config, read(std::move(known)));
  }
  return ServeConfig{.config = config, .command = filled(config, command)};
}

}  // namespace infer::app
