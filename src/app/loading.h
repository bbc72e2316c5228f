// From a command line's choices to something that can compute: the model file or the embedded model, its vocabulary,
// the loaded weights. Errors are those of bad input files (exit code 3) with what to do. Thread safety: one thread.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "app/command_line.h"
#include "app/services.h"
#include "base/result.h"
#include "chat/chat_template.h"
#include "gguf/file.h"
#include "model/model.h"
#include "model/repack_cache.h"
#include "os/thread_pool.h"
#include "quality/level_sensitivity.h"
#include "tokenizer/tokenizer.h"

namespace infer::app {

// "" opens the embedded model.
Result<std::unique_ptr<gguf::File>> open_model_file(const std::string& path);
// "model.gguf" or "tales (embedded)".
std::string model_display_name(const std::string& path);

// Elements of all tensors.
uint64_t count_parameters(const gguf::File& file);

// The vocabulary of the file. A file without one is an error that says so.
Result<std::unique_ptr<tokenizer::Tokenizer>> load_vocabulary(const gguf::File& file, Services& services);

// The text that -p, -f or a pipe gives, checked to be UTF-8. `stdin_by_default`: read standard input when nothing is
// named. kInvalidArgument when there is none, or when it is not UTF-8 (with the byte).
Result<std::string> read_text(const TextChoice& choice, bool stdin_by_default);
// The same without the check.
Result<std::string> read_bytes(const TextChoice& choice, bool stdin_by_default);
// What messages call the text.
std::string text_origin(const TextChoice& choice);
Status check_utf8(std::string_view text, std::string_view what);

// How many threads the choice means.
int threads_of(const ModelChoice& choice);
// Options for the model with what this machine can give filled in.
model::ModelOptions model_options_of(const ModelChoice& choice);

// Where repacked weights are kept. Null: nowhere.
std::unique_ptr<model::RepackCache> open_repack_cache(const ModelChoice& choice, Services& services);

// Declaration order is lifetime: the model goes first, the file last.
struct LoadedModel {
  std::string name;
  std::unique_ptr<gguf::File> file;
  std::unique_ptr<tokenizer::Tokenizer> tokenizer;  // Null when it was not asked for.
  std::unique_ptr<os::ThreadPool> pool;
  std::unique_ptr<model::RepackCache> repack_cache;  // Null: none.
  std::unique_ptr<model::Model> model;
  std::optional<quality::LevelSensitivity> level_test;  // Where the KV cache is tiered.
  Duration load_time;
};

// The model's chat template. For a model without one the fallback, with a warning.
Result<std::unique_ptr<chat::ChatTemplate>> load_chat_template(const LoadedModel& loaded, Services& services);

// "cache" or "repacked": where the weights came from.
const char* weights_source_name(const model::Model& model);

// Waits until repacked weights are on disk, or until `call` says stop; trouble is a warning. Does nothing most of the
// time. The last thing of a command, or the first where nothing may run beside a measurement.
void finish_storing_weights(model::Model& model, const CallContext& call, Services& services);

// Tests what the model's KV cache bears at lower levels (quality/level_sensitivity.h) and tells the model, where the
// cache is tiered and the model small enough for it to take no time, or where it was asked for. A warning where it
// cannot be.
void test_levels(const ModelChoice& choice, LoadedModel& loaded, const CallContext& call, Services& services);

Result<LoadedModel> load_model(const ModelChoice& choice, model::ModelOptions options, bool with_vocabulary,
                               const CallContext& call, Services& services);

}  // namespace infer::app
