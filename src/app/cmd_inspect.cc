#include <algorithm>

#include "app/commands.h"
#include "app/inspect_findings.h"
#include "app/loading.h"
#include "app/text_width.h"
#include "base/bytes.h"
#include "base/format.h"
#include "kernels/block_formats.h"

namespace infer::app {
namespace {

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
  text += row("memory", format("{} for {} tokens of context", format_bytes(memory.total()), found.context));
  return text + row("", format("weights {}, KV cache {}, buffers {}", format_bytes(memory.weights_bytes),
                               format_bytes(memory.kv_bytes), format_bytes(memory.buffers_bytes)));
}

// What kind of vocabulary a model_name() is.
std::string_view kind_text(std::string_view model) {
  if (model == "gpt2") return "byte-level BPE";
  if (model == "llama") return "SentencePiece BPE";
  return model == "t5" ? "SentencePiece unigram" : "of another kind";
}

int count_kind(const tokenizer::Tokenizer& tokenizer, tokenizer::TokenKind kind) {
  int count = 0;
  for (TokenId id = 0; id < tokenizer.vocabulary_size(); ++id) count += tokenizer.token_kind(id) == kind ? 1 : 0;
  return count;
}

std::string token_label(const tokenizer::Tokenizer& tokenizer, TokenId id) {
  constexpr int kColumns = 30;
  return format("{} {}", id, fit_width(printable(tokenizer.token_text(id)), kColumns));
}

std::string vocabulary_rows(const Findings& found) {
  if (!found.tokenizer) return row("vocabulary", found.tokenizer.error().message);
  const tokenizer::Tokenizer& tokenizer = **found.tokenizer;
  std::string text = format("{} tokens, {} ({})", tokenizer.vocabulary_size(), kind_text(tokenizer.model_name()),
                            tokenizer.model_name());
  if (!tokenizer.pre_name().empty()) text += format(", pre-tokenizer {}", printable(tokenizer.pre_name()));
  std::string rows = row("vocabulary", text);
  constexpr size_t kEndsMax = 6;
  std::string specials = tokenizer.bos() == kNoToken ? "no BOS" : "BOS " + token_label(tokenizer, tokenizer.bos());
  if (tokenizer.bos() != kNoToken) specials += tokenizer.adds_bos() ? " (put in front)" : " (not put in front)";
  const std::vector<TokenId> ends = end_tokens(tokenizer);
  for (size_t i = 0; i < ends.size() && i < kEndsMax; ++i) {
    specials += format("{}{}", i == 0 ? ", ends with " : ", ", token_label(tokenizer, ends[i]));
  }
  if (ends.size() > kEndsMax) specials += format(" and {} more", ends.size() - kEndsMax);
  rows += row("specials", specials);
  rows += row(
      "", format("{} control, {} user-defined, {} byte tokens", count_kind(tokenizer, tokenizer::TokenKind::kControl),
                 count_kind(tokenizer, tokenizer::TokenKind::kUserDefined),
                 count_kind(tokenizer, tokenizer::TokenKind::kByte)));
  return rows;
}

std::string_view first_line(std::string_view text) { return text.substr(0, text.find_first_of("\r\n")); }

std::string template_row(const Findings& found) {
  const gguf::Value* value = chat_template(found.file);
  if (value == nullptr) return row("chat template", "none");
  constexpr int kColumns = 60;
  const std::string_view text = *value->as_string();
  std::string rows =
      row("chat template", format("{} bytes: {}", text.size(), fit_width(printable(first_line(text)), kColumns)));
  if (!found.chat) return rows + row("", "cannot be used: " + found.chat.error().message);
  const chat::ChatTemplate& chat = **found.chat;
  std::string does = found.chat_renders ? "renders" : "does not render: " + found.chat_renders.error().message;
  does +=
      chat.takes_tools() ? format(", tools ({})", chat::tool_call_format_name(chat.tool_call_format())) : ", no tools";
  if (!chat.reasoning_tags().open.empty()) does += ", reasoning";
  return rows + row("", does);
}

std::string type_rows(const Findings& found) {
  if (found.types.empty()) return row("tensors", "none");
  std::string parameters = format("{}, {} parameters", found.file.tensors().size(), count_text(found.parameters));
  if (found.parameters_active != found.parameters) {
    parameters += format(", {} of them for a token", count_text(found.parameters_active));
  }
  std::string rows = row("tensors", parameters);
  uint64_t total = 0;
  for (const TypeTotal& type : found.types) total += type.bytes;
  for (const TypeTotal& type : found.types) {
    const double share = 100 * static_cast<double>(type.bytes) / static_cast<double>(std::max<uint64_t>(total, 1));
    rows += row("", format("{:<7}{:>5} {:<7} {:>9} {:>5.1f} %", type.name, type.tensors,
                           type.tensors == 1 ? "tensor" : "tensors", format_bytes(type.bytes), share));
  }
  return rows;
}

std::string unusual_rows(const Findings& found) {
  std::string rows;
  for (const Remark& remark : found.unusual) rows += row(rows.empty() ? "unusual" : "", remark.text);
  return rows;
}

std::string as_text(const Findings& found, const InspectOptions& options) {
  std::string text = row("file", format("{}, GGUF version {}, {}", found.name, found.file.version(),
                                        format_bytes(found.file.file_bytes())));
  text += type_rows(found) + model_rows(found) + vocabulary_rows(found) + template_row(found) + unusual_rows(found);
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
      .set("experts", config.experts.count)
      .set("experts_used", config.experts.used)
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
      .set("adds_bos", tokenizer.adds_bos())
      .set("end_tokens", api::Json::array_of(end_tokens(tokenizer)))
      .set("control_tokens", count_kind(tokenizer, tokenizer::TokenKind::kControl))
      .set("user_defined_tokens", count_kind(tokenizer, tokenizer::TokenKind::kUserDefined))
      .set("byte_tokens", count_kind(tokenizer, tokenizer::TokenKind::kByte));
}

api::Json as_json(const Findings& found, const InspectOptions& options) {
  api::Json types = api::Json::object();
  for (const TypeTotal& total : found.types) {
    types.set(total.name, api::Json::object().set("tensors", total.tensors).set("bytes", total.bytes));
  }
  api::Json template_json;
  if (const gguf::Value* value = chat_template(found.file)) {
    const std::string_view text = *value->as_string();
    template_json = api::Json::object().set("bytes", text.size()).set("first_line", first_line(text));
    template_json.set("renders", found.chat.has_value() && found.chat_renders.has_value());
    if (!found.chat) template_json.set("reason", found.chat.error().message);
    if (!found.chat_renders) template_json.set("reason", found.chat_renders.error().message);
    if (found.chat) {
      const chat::ChatTemplate& chat = **found.chat;
      template_json.set("tools", chat.takes_tools())
          .set("tool_call_format", chat::tool_call_format_name(chat.tool_call_format()))
          .set("reasoning", !chat.reasoning_tags().open.empty());
    }
  }
  api::Json unusual = api::Json::array();
  for (const Remark& remark : found.unusual) {
    unusual.push(api::Json::object().set("name", remark.name).set("text", remark.text));
  }
  api::Json json = api::Json::object();
  json.set("file", found.name)
      .set("gguf_version", found.file.version())
      .set("file_bytes", found.file.file_bytes())
      .set("tensor_count", found.file.tensors().size())
      .set("parameters", found.parameters)
      .set("parameters_active", found.parameters_active)
      .set("types", std::move(types))
      .set("model", model_json(found))
      .set("tokenizer", tokenizer_json(found))
      .set("chat_template", std::move(template_json))
      .set("unusual", std::move(unusual));
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

namespace {

// How the model bears a KV cache of fewer bits, if that was asked for.
Result<std::optional<quality::LevelSensitivity>> test_kv(const InspectOptions& options, Services& services) {
  if (!options.model.kv_test) return std::optional<quality::LevelSensitivity>();
  const CallContext call = services.call(options.model.deadline);
  INFER_ASSIGN(const LoadedModel loaded,
               load_model(options.model, model_options_of(options.model), true, call, services));
  return loaded.level_test;
}

std::string level_test_rows(const quality::LevelSensitivity& test) {
  std::string text = row(
      "KV levels", format("against 16 bits, {} tokens: divergence {:.1e} at 8 bits, {:.1e} at 4 ({:.1f} % same top)",
                          test.tokens, test.kld_q8, test.kld_q4, 100 * test.same_top_q4));
  std::string floored;
  for (size_t layer = 0; layer < test.floors.size(); ++layer) {
    if (test.floors[layer] == kv::Level::k8) floored += format("{}{}", floored.empty() ? "" : ", ", layer);
  }
  return text + row("", floored.empty() ? "no layer needs more than 4 bits" : "not below 8 bits: layers " + floored);
}

api::Json as_json(const quality::LevelSensitivity& test) {
  api::Json floors = api::Json::array();
  for (const kv::Level level : test.floors) floors.push(level == kv::Level::k8 ? "q8" : "q4");
  return api::Json::object()
      .set("tokens", test.tokens)
      .set("kld_q8", test.kld_q8)
      .set("kld_q4", test.kld_q4)
      .set("same_top_q4", test.same_top_q4)
      .set("loss_to_divergence", test.loss_to_divergence ? api::Json(*test.loss_to_divergence) : api::Json())
      .set("seen_to_divergence", test.seen_to_divergence ? api::Json(*test.seen_to_divergence) : api::Json())
      .set("layer_divergence", api::Json::array_of(test.layer_divergence))
      .set("floors", floors);
}

}  // namespace

Status inspect_command(const InspectOptions& options, Services& services) {
  INFER_ASSIGN(const auto file, open_model_file(options.model.path));
  const Findings found = examine_model(*file, options, services);
  INFER_ASSIGN(const std::optional<quality::LevelSensitivity> test, test_kv(options, services));
  if (options.json) {
    api::Json json = as_json(found, options);
    if (test) json.set("kv_test", as_json(*test));
    return services.out().write_json(json);
  }
  return services.out().write(as_text(found, options) + (test ? level_test_rows(*test) : ""));
}

}  // namespace infer::app
