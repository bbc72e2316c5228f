#include "app/declared_command.h"

#include "base/bytes.h"
#include "os/thread_pool.h"

namespace infer::app {

void add_model_choice(Command& command, ModelChoice& choice, bool with_context) {
  command.text("-m,--model", choice.path, "FILE", "GGUF model; without it the embedded one");
  command.number("-t,--threads", choice.threads, 1, os::ThreadPool::kThreadsMax,
                 "threads that compute (default: one per physical core)");
  if (with_context) {
    command.number("-c,--ctx", choice.context, 4, kContextMax,
                   "context in tokens (default: the model's, at most 4096)");
  }
  command.value("--memory-limit", "SIZE", "most memory to take, like 6GB or 512MiB; refuse when it is not enough",
                [&choice](const std::string& given) -> Status {
                  INFER_ASSIGN(choice.memory_limit_bytes, parse_bytes(given));
                  if (choice.memory_limit_bytes > 0) return {};
                  return Error{ErrorCode::kInvalidArgument, "must be above 0; leave it out for no limit"};
                });
}

void add_deadline(Command& command, ModelChoice& choice) {
  command.value("--deadline", "TIME", "end by then, keeping what is there: 30s, 500ms, 2m",
                [&choice](const std::string& given) -> Status {
                  INFER_ASSIGN(choice.deadline, parse_duration(given));
                  return {};
                });
}

namespace {

Status set_kv_preset(const std::string& given, kv::LevelPolicy& levels) {
  if (kv::apply_preset(given, levels)) return {};
  return Error{ErrorCode::kInvalidArgument, format("'{}' is unknown; one of safe, balanced, aggressive", given)};
}

Status set_kv_mode(const std::string& given, ModelChoice& choice) {
  choice.kv_floats = given == "f32";
  const auto mode = choice.kv_floats ? kv::KvMode::kF16 : kv::mode_from_name(given);
  if (!mode) {
    return Error{ErrorCode::kInvalidArgument,
                 format("'{}' is unknown; one of f16, f32, q8, q4, tiered (dynamic), latency_optimized, "
                        "throughput_optimized, quality_optimized",
                        given)};
  }
  choice.levels.mode = *mode;
  return {};
}

}  // namespace

void add_levels(Command& command, ModelChoice& choice) {
  kv::LevelPolicy& levels = choice.levels;
  command.value(
      "--kv", "MODE",
      "KV cache behind the recent window: f16; q8, q4 (8, 4 bits); tiered (each page by the attention that it "
      "gets, about 30 % of F16), latency_optimized, throughput_optimized, quality_optimized; or f32 for all of it "
      "(f16)",
      [&choice](const std::string& given) { return set_kv_mode(given, choice); });
  command.value("--kv-preset", "NAME",
                "mode and window together: safe (quality_optimized, 256), balanced (tiered, 64), aggressive "
                "(throughput_optimized, 32)",
                [&levels](const std::string& given) { return set_kv_preset(given, levels); });
  command.number("--kv-window", levels.recent_window, 0, kContextMax,
                 "the last so many tokens keep 16 bits in every mode (64)");
  command.number("--kv-sinks", levels.sink_tokens, 0, kContextMax, "so do the first so many (4)");
  command.value("--kv-limit", "SIZE",
                "most memory that one text's cache should take; what is too much is spilled or, "
                "without a disk, dropped (none)",
                [&levels](const std::string& given) -> Status {
                  INFER_ASSIGN(levels.memory_limit_bytes, parse_bytes(given));
                  levels.may_evict = levels.memory_limit_bytes > 0;
                  return {};
                });
  command.text("--kv-spill", choice.spill_folder, "DIR",
               "where a tiered cache keeps what leaves memory; off: nowhere (INFEROS_KV_SPILL, or the user's cache "
               "folder)");
  command.flag("--kv-test", choice.kv_test, true,
               "before anything else, test what the model bears of lower levels, and keep sensitive layers at 8 bits "
               "(small models are always tested)");
  command.value("--kv-spill-limit", "SIZE", "most that it may take there (4GiB)",
                [&choice](const std::string& given) -> Status {
                  INFER_ASSIGN(choice.spill_limit_bytes, parse_bytes(given));
                  return {};
                });
}

void add_repack_cache(Command& command, ModelChoice& choice) {
  command.text("--repack-cache", choice.repack_cache_folder, "DIR",
               "keep repacked weights there, for quicker starts; without it large models that load slowly are kept in "
               "INFEROS_REPACK_CACHE or the user's cache folder");
  command.flag("--no-repack-cache", choice.repack_cache, false, "neither use nor write such files");
  command.value("--repack-cache-limit", "SIZE",
                "most that they may take together (20GB, or a tenth of the free disk where that is less)",
                [&choice](const std::string& given) -> Status {
                  INFER_ASSIGN(choice.repack_cache_limit_bytes, parse_bytes(given));
                  if (choice.repack_cache_limit_bytes > 0) return {};
                  return Error{ErrorCode::kInvalidArgument, "must be above 0; --no-repack-cache does without"};
                });
}

}  // namespace infer::app
