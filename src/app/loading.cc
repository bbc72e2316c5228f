#include "app/loading.h"

#include <cstdio>
#include <utility>

#include "app/embedded_model.h"
#include "app/exit_code.h"
#include "base/bytes.h"
#include "base/format.h"
#include "base/utf8.h"
#include "os/environment.h"
#include "os/folder.h"
#include "os/process_facts.h"
#include "os/text_file.h"
#include "os/topology.h"

namespace infer::app {
namespace {

constexpr size_t kTextBytesMax = size_t{1} << 30;

Result<std::string> read_standard_input() {
  std::string text;
  char piece[1 << 16];
  size_t got = 0;
  while ((got = std::fread(piece, 1, sizeof(piece), stdin)) > 0) {
    text.append(piece, got);
    if (text.size() > kTextBytesMax) {
      return Error{ErrorCode::kInvalidArgument,
                   format("standard input: more than {}; give a part of it", format_bytes(kTextBytesMax))};
    }
  }
  if (std::ferror(stdin)) return Error{ErrorCode::kIo, "standard input: cannot be read"};
  return text;
}

}  // namespace

Result<std::unique_ptr<gguf::File>> open_model_file(const std::string& path) {
  if (path.empty()) return gguf::File::parse(embedded_model_bytes(), kEmbeddedModelName);
  auto file = gguf::File::open(path);
  if (file) return file;
  return as_input_error(std::move(file).error(), "give the path of a GGUF model file");
}

std::string model_display_name(const std::string& path) {
  if (path.empty()) return kEmbeddedModelName;
  return path.substr(path.find_last_of('/') + 1);
}

uint64_t count_parameters(const gguf::File& file) {
  uint64_t count = 0;
  for (const gguf::Tensor& tensor : file.tensors()) count += tensor.elements();
  return count;
}

Result<std::unique_ptr<tokenizer::Tokenizer>> load_vocabulary(const gguf::File& file, Services& services) {
  const gguf::Value* kind = file.find("tokenizer.ggml.model");
  if (!kind || kind->as_string() == "none") {
    return Error{
        ErrorCode::kUnsupported,
        format("{}: has no vocabulary ({}), so that text cannot become tokens; use a model with one, or bench, "
               "which needs none",
               file.name(), kind ? "tokenizer.ggml.model is \"none\"" : "no tokenizer.ggml.model")};
  }
  auto tokenizer = tokenizer::Tokenizer::from_gguf(file, services.err());
  if (tokenizer) return tokenizer;
  Error error = std::move(tokenizer).error();
  if (error.message.find(file.name()) == std::string::npos) error = std::move(error).with_context(file.name());
  return as_input_error(std::move(error), "use another file of this model");
}

Status check_utf8(std::string_view text, std::string_view what) {
  const size_t valid = valid_utf8_prefix(text);
  if (valid == text.size()) return {};
  return Error{ErrorCode::kInvalidArgument,
               format("{}: not UTF-8: byte {} of {} is 0x{:02X}; convert it first, for example with iconv -t UTF-8",
                      what, valid, text.size(), static_cast<unsigned char>(text[valid]))};
}

std::string text_origin(const TextChoice& choice) {
  if (choice.text) return "--prompt";
  return choice.file.empty() || choice.file == "-" ? "standard input" : choice.file;
}

Result<std::string> read_bytes(const TextChoice& choice, bool stdin_by_default) {
  if (choice.text) return *choice.text;
  const bool from_stdin = choice.file == "-" || (choice.file.empty() && stdin_by_default);
  if (!from_stdin && choice.file.empty()) {
    return Error{ErrorCode::kInvalidArgument, "no text: give -p TEXT, -f FILE, or pipe it in"};
  }
  auto text = from_stdin ? read_standard_input() : os::read_text_file(choice.file, kTextBytesMax);
  if (!text) return as_input_error(std::move(text).error(), "give a text file");
  return text;
}

Result<std::string> read_text(const TextChoice& choice, bool stdin_by_default) {
  INFER_ASSIGN(std::string text, read_bytes(choice, stdin_by_default));
  INFER_TRY(check_utf8(text, text_origin(choice)));
  return text;
}

int threads_of(const ModelChoice& choice) {
  return choice.threads > 0 ? choice.threads : os::read_topology().compute_threads();
}

// Where a tiered cache puts what leaves memory: the folder that was named, by flag or environment, or the user's cache
// folder. "": nowhere.
std::string spill_folder_of(const ModelChoice& choice) {
  if (!kv::is_tiered(choice.levels.mode)) return "";
  std::string folder = choice.spill_folder;
  if (folder.empty()) folder = os::environment_variable("INFEROS_KV_SPILL").value_or("");
  if (folder == "off") return "";
  if (!folder.empty()) return folder;
  const std::string base = os::user_cache_folder();
  return base.empty() ? "" : os::path_in(base, "inferos");
}

model::ModelOptions model_options_of(const ModelChoice& choice) {
  model::ModelOptions options;
  options.context = choice.context;
  options.levels = choice.levels;
  options.kv_floats = choice.kv_floats;
  options.spill_folder = spill_folder_of(choice);
  options.spill_limit_bytes = choice.spill_limit_bytes;
  options.memory_limit_bytes = choice.memory_limit_bytes;
  options.memory_available_bytes = os::available_memory_bytes().value_or(0);
  return options;
}

// The folder that was named, by flag or environment, or one below the user's cache folder.
std::unique_ptr<model::RepackCache> open_repack_cache(const ModelChoice& choice, Services& services) {
  // The embedded model is small, and its bytes are in memory already.
  if (!choice.repack_cache || choice.path.empty()) return nullptr;
  model::RepackCacheOptions options{
      .folder = choice.repack_cache_folder, .limit_bytes = choice.repack_cache_limit_bytes, .always = true};
  if (options.folder.empty()) {
    const std::optional<std::string> named = os::environment_variable("INFEROS_REPACK_CACHE");
    if (named && (named->empty() || *named == "off")) return nullptr;
    options.folder = named.value_or("");
  }
  if (options.folder.empty()) {
    const std::string base = os::user_cache_folder();
    if (base.empty()) return nullptr;
    options.folder = os::path_in(base, "inferos");
    options.always = false;
  }
  return std::make_unique<model::RepackCache>(std::move(options), services.err());
}

Result<std::unique_ptr<chat::ChatTemplate>> load_chat_template(const LoadedModel& loaded, Services& services) {
  auto chat = chat::ChatTemplate::from_gguf(*loaded.file, *loaded.tokenizer);
  if (!chat) {
    return Error{chat.error().code, format("{}: {}; --no-chat does without it", loaded.name, chat.error().message)};
  }
  if ((*chat)->is_fallback()) {
    services.err().write(LogLevel::kWarning,
                         format("{} has no chat template: messages stand on lines of their own", loaded.name));
  }
  return chat;
}

const char* weights_source_name(const model::Model& model) {
  return model.weights_source() == model::WeightsSource::kCache ? "cache" : "repacked";
}

void finish_storing_weights(model::Model& model, const CallContext& call, Services& services) {
  if (model.storing_weights() && !call.should_stop()) {
    services.err().remark("keeping the repacked weights for a quicker start; Ctrl-C goes without");
  }
  const Status stored = model.finish_storing_weights(call);
  if (stored || stored.error().code == ErrorCode::kCancelled) return;
  services.err().write(LogLevel::kWarning, "the repacked weights are not kept: " + stored.error().message);
}

void test_levels(const ModelChoice& choice, LoadedModel& loaded, const CallContext& call, Services& services) {
  constexpr uint64_t kQuickBytes = 300'000'000;  // Of weights: below a second or so.
  const bool quick = loaded.model->memory().weights_bytes < kQuickBytes;
  if (!choice.kv_test && !(kv::is_tiered(choice.levels.mode) && quick)) return;
  ProgressBar bar = services.progress("testing what the KV cache bears", ProgressUnit::kTokens);
  auto test = quality::measure_sensitivity(*loaded.model, *loaded.tokenizer, quality::sensitivity_text(), call);
  bar.finish();
  if (!test) {
    if (choice.kv_test) services.err().write(LogLevel::kWarning, test.error().message);
    return;
  }
  loaded.level_test = *std::move(test);
  loaded.model->set_level_sensitivity(loaded.level_test->floors, loaded.level_test->loss_to_divergence,
                                      loaded.level_test->seen_to_divergence);
}

Result<LoadedModel> load_model(const ModelChoice& choice, model::ModelOptions options, bool with_vocabulary,
                               const CallContext& call, Services& services) {
  const Instant start = call.clock.now();
  LoadedModel loaded;
  loaded.name = model_display_name(choice.path);
  INFER_ASSIGN(const kernels::KernelTable* kernels, services.kernels());
  INFER_ASSIGN(loaded.file, open_model_file(choice.path));
  if (with_vocabulary) {
    INFER_ASSIGN(loaded.tokenizer, load_vocabulary(*loaded.file, services));
  }
  // A folder that cannot be made is the store's to complain of.
  if (!options.spill_folder.empty()) static_cast<void>(os::make_private_folder(options.spill_folder));
  loaded.pool = std::make_unique<os::ThreadPool>(threads_of(choice));
  loaded.repack_cache = open_repack_cache(choice, services);
  options.repack_cache = loaded.repack_cache.get();
  if (choice.kv_test || kv::is_tiered(choice.levels.mode)) {
    options.logits_per_step = std::max(options.logits_per_step, kernels::kPageTokens);  // For the test.
  }
  ProgressBar bar = services.progress("loading " + loaded.name, ProgressUnit::kBytes);
  const uint64_t bytes = loaded.file->file_bytes();
  const auto progress = [&](double fraction) {
    bar.update(static_cast<uint64_t>(fraction * static_cast<double>(bytes)), bytes);
  };
  auto model = model::Model::load(*loaded.file, *kernels, *loaded.pool, options, call, progress);
  bar.finish();
  if (!model) {
    Error error = std::move(model).error();
    if (error.message.find(loaded.name) == std::string::npos) error = std::move(error).with_context(loaded.name);
    return error;
  }
  loaded.model = std::move(*model);
  if (const Status& spill = loaded.model->spill_status(); !spill) {
    services.err().write(LogLevel::kWarning,
                         "the KV cache cannot spill to disk and keeps everything in memory: " + spill.error().message);
  }
  const int trained = loaded.model->config().context_trained;
  if (with_vocabulary && loaded.model->options().context > trained) {
    services.err().write(
        LogLevel::kWarning,
        format("a context of {} tokens is longer than the {} that {} was trained for: expect worse text",
               loaded.model->options().context, trained, loaded.name));
  }
  if (with_vocabulary) test_levels(choice, loaded, call, services);
  loaded.load_time = call.clock.now() - start;
  return loaded;
}

}  // namespace infer::app
