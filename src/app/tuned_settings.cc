#include "app/tuned_settings.h"

#include <string_view>
#include <utility>

#include "base/format.h"
#include "os/folder.h"
#include "os/text_file.h"

namespace infer::app {

namespace {

constexpr size_t kFileBytesMax = 1 << 20;
// The first line of a file kept where nothing was before.
constexpr std::string_view kNothingBefore = "# Nothing was here before tuning.\n";

std::string before(const std::string& path) { return path + ".before"; }

}  // namespace

std::string tuned_yaml(const Tuned& tuned) {
  const control::TuneSetting& setting = tuned.setting;
  const bool lowers = setting.mode != kv::KvMode::kF16;
  std::string text = format("# Found by inferos tune: {}.\ninfer_os:\n  kv:\n    mode: {}\n", tuned.why,
                            lowers ? kv::mode_name(setting.mode) : "disabled");
  if (lowers) text += format("    recent_window: {}\n", setting.window);
  if (kv::is_tiered(setting.mode)) {
    text += format("    level_thresholds: {{L1_int8: {}, L2_int4: {}, L3_evict: {}}}\n", setting.thresholds.l1_int8,
                   setting.thresholds.l2_int4, setting.thresholds.l3_evict);
  }
  text += format("  quality:\n    max_delta_ppl: {}\n", tuned.goal.max_delta_ppl);
  if (tuned.searched_sequences) text += format("  server:\n    running_max: {}\n", setting.sequences);
  if (setting.threads > 0 || tuned.draft_max) text += "  model:\n";
  if (setting.threads > 0) text += format("    threads: {}\n", setting.threads);
  if (tuned.draft_max) text += format("    draft_max: {}\n", *tuned.draft_max);
  return text;
}

Status check_writable(const std::string& path) {
  const std::string probe = path + ".new";
  if (Status written = os::write_text_file(probe, ""); !written) return std::move(written).error().with_context("-o");
  static_cast<void>(os::remove_file(probe));
  return {};
}

Status write_tuned(const std::string& path, const std::string& text) {
  const auto old = os::read_text_file(path, kFileBytesMax);
  if (!old && old.error().code != ErrorCode::kNotFound) return old.error();
  INFER_TRY(os::write_text_file(before(path), old ? std::string_view(*old) : kNothingBefore));
  return os::write_text_file(path, text);
}

Status undo_tuned(const std::string& path) {
  const auto old = os::read_text_file(before(path), kFileBytesMax);
  if (!old) {
    return Error{old.error().code, format("nothing to undo for {}: {}. It is kept by inferos tune -o {}", path,
                                          old.error().message, path)};
  }
  if (*old != kNothingBefore) return os::rename_file(before(path), path);
  for (const std::string& each : {path, before(path)}) {
    if (!os::remove_file(each)) return Error{ErrorCode::kIo, format("{} cannot be removed", each)};
  }
  return {};
}

}  // namespace infer::app
