#include <algorithm>
#include <map>

#include "app/commands.h"
#include "app/loading.h"
#include "app/text_width.h"
#include "base/bytes.h"
#include "base/format.h"
#include "kv/page_pool.h"

namespace infer::app {
namespace {

struct TypeTotal {
  std::string name;
  uint64_t tensors = 0;
  uint64_t bytes = 0;
};

// What is known about the file; the parts that it does not have (a vocabulary alone has no model) carry their error.
struct Findings {
  std::string name;
  const gguf::File& file;
  uint64_t parameters = 0;
  std::vector<TypeTotal> types;  // Most bytes first.
  Result<model::ModelConfig> config;
  Result<model::MemoryEstimate> memory;
  Result<std::unique_ptr<tokenizer::Tokenizer>> tokenizer;
  int context = 0;  // That `memory` is for.
  int threads = 1;
};

uint64_t kv_bytes_per_token(const model::ModelConfig& config) {
  const kv::PageShape shape{.kv_heads = config.kv_heads, .head_dim = config.head_dim};
  return kv::cache_bytes(shape, config.layers, kernels::kPageTokens) / kernels::kPageTokens;
}

std::vector<TypeTotal> totals_by_type(const gguf::File& file) {
  std::map<std::string, TypeTotal> by_name;
  for (const gguf::Tensor& tensor : file.tensors()) {
    const char* name = kernels::weight_type_info(static_cast<uint32_t>(tensor.type))->name;
    TypeTotal& total = by_name[name];
    total.name = name;
    ++total.tensors;
    total.bytes += tensor.data.size();
  }
  std::vector<TypeTotal> totals;
  for (auto& [name, total] : by_name) totals.push_back(total);
  std::sort(totals.begin(), totals.end(), [](const TypeTotal& a, const TypeTotal& b) { return a.bytes > b.bytes; });
  return totals;
}

Findings examine(const gguf::File& file, const InspectOptions& options, Services& services) {
  model::ModelOptions model_options = model_options_of(options.model);
  model_options.memory_available_bytes = 0;  // Whether it fits is for the user to see, not a reason to say nothing.
  const int threads = threads_of(options.model);
  Findings findings{.name = model_display_name(options.model.path),
                    .file = file,
                    .types = totals_by_type(file),
                    .config = model::read_model_config(file),
                    .memory = model::Model::estimate(file, threads, model_options),
                    .tokenizer = load_vocabulary(file, services),
                    .threads = threads};
  for (const gguf::Tensor& tensor : file.tensors()) findings.parameters += tensor.elements();
  if (findings.config) {
    constexpr int kDefaultContextMax = 4096;  // Of model::ModelOptions.
    const int trained = findings.config->context_trained;
    findings.context = options.model.context > 0 ? options.model.context : std::min(trained, kDefaultContextMax);
  }
  return findings;
}

std::string count_text(uint64_t count) {
  const auto value = static_cast<double>(count);
  if (value >= 1e9) return format("{:.2f} billion", value * 1e-9);
  if (value >= 1e6) return format("{:.2f} million", value * 1e-6);
  return format("{}", count);
}

std::string row(std::string_view label, std::string_view text) { return format("{:<14}{}\n", label, text); }

std::string model_rows(const Findings& found) {
  if (found.file.tensors().empty()) {
    const gguf::Value* architecture = found.file.find("general.architecture");
    return row("architecture", architecture ? architecture->to_text(64) : "not told") +
           row("model", "no weights, a vocabulary alone");
  }
  if (!found.config) return row("model", "cannot be run: " + found.config.error().message);
  const model::ModelConfig& config = *found.config;
  std::string text = row("architecture", config.name.empty() ? config.architecture
                                                             : format("{}, \"{}\"", config.architecture, config.name));
  text += row("shape",
              format("{} layers, width {}, {} heads ({} for keys and values) of {}, feed-forward {}", config.layers,
                     config.width, config.heads, config.kv_heads, config.head_dim, config.ffn_width));
  text += row("context", format("{} tokens trained", config.context_trained));
  text += row("KV cache", format("{} per token in 16 bits", format_bytes(kv_bytes_per_token(config))));
  if (!found.memory) return text + row("memory", found.memory.error().message);
  const model::MemoryEstimate& memory = *found.memory;
  return text + row("memory", format("{} for {} tokens: weights {}, KV {}, buffers {}", format_bytes(memory.total()),
                                     found.context, format_bytes(memory.weights_bytes), format_bytes(memory.kv_bytes),
                                     format_bytes(memory.buffers_bytes)));
}

std::string tokenizer_row(const Findings& found) {
  if (!found.tokenizer) return row("vocabulary", found.tokenizer.error().message);
  const tokenizer::Tokenizer& tokenizer = **found.tokenizer;
  std::string text = format("{} tokens, {}", tokenizer.vocabulary_size(), tokenizer.model_name());
  if (!tokenizer.pre_name().empty()) text += format(", pre-tokenizer {}", tokenizer.pre_name());
  const auto special = [&](const char* name, TokenId id) {
    if (id != kNoToken) text += format(", {} {} {}", name, id, tokenizer.token_text(id));
  };
  special("BOS", tokenizer.bos());
  special("EOS", tokenizer.eos());
  return row("vocabulary", text);
}

std::string as_text(const Findings& found, const InspectOptions& options) {
  std::string types;
  for (const TypeTotal& total : found.types) {
    types += format("{}{} {} ({})", types.empty() ? "" : ", ", total.tensors, total.name, format_bytes(total.bytes));
  }
  std::string text = row("file", format("{}, GGUF version {}, {}", found.name, found.file.version(),
                                        format_bytes(found.file.file_bytes())));
  text += row("tensors", found.types.empty() ? "none"
                                             : format("{}, {} parameters: {}", found.file.tensors().size(),
                                                      count_text(found.parameters), types));
  text += model_rows(found) + tokenizer_row(found);
  if (options.metadata) {
    text += "\nmetadata\n";
    constexpr size_t kValueChars = 100;
    for (const gguf::MetadataEntry& entry : found.file.metadata()) {
      text += format("  {} = {}\n", printable(entry.key), entry.value.to_text(kValueChars));
    }
  }
  if (options.tensors) {
    text += "\ntensors\n";
    for (const gguf::Tensor& tensor : found.file.tensors()) {
      text += format("  {:<32} {:>5} {:>20} {:>9}\n", printable(tensor.name),
                     kernels::weight_type_info(static_cast<uint32_t>(tensor.type))->name, tensor.shape_text(),
                     format_bytes(tensor.data.size()));
    }
  }
  return text;
}

api::Json model_json(const Findings& found) {
  api::Json json = api::Json::object();
  if (!found.config) return json.set("runnable", false).set("reason", found.config.error().message);
  const model::ModelConfig& config = *found.config;
  json.set("runnable", found.memory.has_value());
  if (!found.memory) json.set("reason", found.memory.error().message);
  json.set("architecture", config.architecture)
      .set("name", config.name)
      .set("layers", config.layers)
      .set("width", config.width)
      .set("heads", config.heads)
      .set("kv_heads", config.kv_heads)
      .set("head_dim", config.head_dim)
      .set("ffn_width", config.ffn_width)
      .set("vocabulary", config.vocabulary)
      .set("context_trained", config.context_trained)
      .set("kv_bytes_per_token", kv_bytes_per_token(config));
  if (found.memory) {
    json.set("memory", api::Json::object()
                           .set("ctx", found.context)
                           .set("threads", found.threads)
                           .set("weights_bytes", found.memory->weights_bytes)
                           .set("kv_bytes", found.memory->kv_bytes)
                           .set("buffers_bytes", found.memory->buffers_bytes)
                           .set("total_bytes", found.memory->total()));
  }
  return json;
}

api::Json tokenizer_json(const Findings& found) {
  if (!found.tokenizer) return api::Json::object().set("reason", found.tokenizer.error().message);
  const tokenizer::Tokenizer& tokenizer = **found.tokenizer;
  const auto id = [](TokenId token) { return token == kNoToken ? api::Json() : api::Json(token); };
  return api::Json::object()
      .set("model", tokenizer.model_name())
      .set("pre", tokenizer.pre_name())
      .set("tokens", tokenizer.vocabulary_size())
      .set("bos", id(tokenizer.bos()))
      .set("eos", id(tokenizer.eos()))
      .set("adds_bos", tokenizer.adds_bos());
}

api::Json as_json(const Findings& found, const InspectOptions& options) {
  api::Json types = api::Json::object();
  for (const TypeTotal& total : found.types) {
    types.set(total.name, api::Json::object().set("tensors", total.tensors).set("bytes", total.bytes));
  }
  api::Json json = api::Json::object();
  json.set("file", found.name)
      .set("gguf_version", found.file.version())
      .set("file_bytes", found.file.file_bytes())
      .set("tensor_count", found.file.tensors().size())
      .set("parameters", found.parameters)
      .set("types", std::move(types))
      .set("model", model_json(found))
      .set("tokenizer", tokenizer_json(found));
  if (options.metadata) {
    constexpr size_t kValueChars = 1000;
    std::vector<api::Json::Member> entries;
    for (const gguf::MetadataEntry& entry : found.file.metadata()) {
      entries.emplace_back(std::string(entry.key), entry.value.to_text(kValueChars));
    }
    json.set("metadata", api::Json::object_of(std::move(entries)));
  }
  if (options.tensors) {
    api::Json tensors = api::Json::array();
    for (const gguf::Tensor& tensor : found.file.tensors()) {
      tensors.push(api::Json::object()
                       .set("name", tensor.name)
                       .set("type", kernels::weight_type_info(static_cast<uint32_t>(tensor.type))->name)
                       .set("shape", api::Json::array_of(std::span(tensor.dims.data(), tensor.dim_count)))
                       .set("bytes", tensor.data.size()));
    }
    json.set("tensors", std::move(tensors));
  }
  return json;
}

}  // namespace

Status inspect_command(const InspectOptions& options, Services& services) {
  INFER_ASSIGN(const auto file, open_model_file(options.model.path));
  const Findings found = examine(*file, options, services);
  if (options.json) return services.out().write_json(as_json(found, options));
  return services.out().write(as_text(found, options));
}

}  // namespace infer::app
