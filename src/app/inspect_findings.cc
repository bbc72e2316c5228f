#include "app/inspect_findings.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>

#include "app/loading.h"
#include "app/text_width.h"
#include "base/format.h"
#include "kernels/block_formats.h"
#include "kv/page_pool.h"

namespace infer::app {
namespace {

const char* type_name(const gguf::Tensor& tensor) {
  return kernels::weight_type_info(static_cast<uint32_t>(tensor.type))->name;
}

std::vector<TypeTotal> totals_by_type(const gguf::File& file) {
  std::map<std::string, TypeTotal> by_name;
  for (const gguf::Tensor& tensor : file.tensors()) {
    TypeTotal& total = by_name[type_name(tensor)];
    total.name = type_name(tensor);
    ++total.tensors;
    total.bytes += tensor.data.size();
  }
  std::vector<TypeTotal> totals;
  for (auto& [name, total] : by_name) totals.push_back(total);
  std::sort(totals.begin(), totals.end(), [](const TypeTotal& a, const TypeTotal& b) { return a.bytes > b.bytes; });
  return totals;
}

bool is_of_experts(const gguf::Tensor& tensor) { return tensor.name.find("_exps.") != std::string_view::npos; }

bool ends_with(std::string_view text, std::string_view end) {
  return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

// "blk.12.attn_q.weight" -> 12 and "attn_q.weight".
struct LayerTensor {
  int layer;
  std::string_view part;
};
std::optional<LayerTensor> split_layer_name(std::string_view name) {
  constexpr std::string_view kPrefix = "blk.";
  if (name.substr(0, kPrefix.size()) != kPrefix) return std::nullopt;
  name.remove_prefix(kPrefix.size());
  int layer = 0;
  const auto end = std::from_chars(name.data(), name.data() + name.size(), layer);
  const auto digits = static_cast<size_t>(end.ptr - name.data());
  if (end.ec != std::errc() || digits == name.size() || name[digits] != '.') return std::nullopt;
  return LayerTensor{layer, name.substr(digits + 1)};
}

// The layers' tensors of one part, by something that they may differ in.
using Variants = std::map<std::string, int>;

// "12 of 24 layers q6_K, 12 of 24 layers q4_K"
std::string describe_variants(const Variants& variants, int layers) {
  std::vector<std::pair<std::string, int>> ordered(variants.begin(), variants.end());
  std::sort(ordered.begin(), ordered.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  std::string text;
  for (const auto& [what, count] : ordered) {
    text += format("{}{} in {} of {} layers", text.empty() ? "" : ", ", what, count, layers);
  }
  return text;
}

void remark_on_layers(const gguf::File& file, std::vector<Remark>& remarks) {
  constexpr size_t kPartsMax = 8;
  std::map<std::string_view, Variants> types, shapes;
  int layers = 0;
  for (const gguf::Tensor& tensor : file.tensors()) {
    const std::optional<LayerTensor> found = split_layer_name(tensor.name);
    if (!found) continue;
    layers = std::max(layers, found->layer + 1);
    ++types[found->part][type_name(tensor)];
    ++shapes[found->part][tensor.shape_text()];
  }
  size_t parts = 0;
  for (const auto& [part, variants] : shapes) {
    int count = 0;
    for (const auto& [shape, of_shape] : variants) count += of_shape;
    if ((variants.size() == 1 && count == layers) || parts++ >= kPartsMax) continue;
    remarks.push_back({"unequal_layers", format("{}: {}", printable(part), describe_variants(variants, layers))});
  }
  parts = 0;
  for (const auto& [part, variants] : types) {
    if (variants.size() == 1 || parts++ >= kPartsMax) continue;
    remarks.push_back({"mixed_types", format("{}: {}", printable(part), describe_variants(variants, layers))});
  }
}

void remark_on_tensors(const gguf::File& file, std::vector<Remark>& remarks) {
  size_t biases = 0;
  for (const gguf::Tensor& tensor : file.tensors()) biases += ends_with(tensor.name, ".bias") ? 1 : 0;
  const auto has = [&file](std::string_view name) {
    return std::any_of(file.tensors().begin(), file.tensors().end(),
                       [name](const gguf::Tensor& tensor) { return tensor.name == name; });
  };
  if (has("token_embd.weight") && !has("output.weight")) {
    remarks.push_back({"tied_output", "no output matrix: the token embeddings serve as it"});
  }
  if (biases > 0) remarks.push_back({"biases", format("{} tensors are biases", biases)});
  remark_on_layers(file, remarks);
}

void remark_on_attention(const model::ModelConfig& config, std::vector<Remark>& remarks) {
  std::map<int, int> windows;
  for (const model::LayerDescription& layer : config.layer) ++windows[layer.window];
  for (const auto& [window, count] : windows) {
    if (window == 0) continue;
    remarks.push_back(
        {"sliding_window", format("{} of {} layers see the last {} tokens only", count, config.layers, window)});
  }
  if (config.attention_sinks) {
    remarks.push_back({"attention_sinks", "every head has a sink that takes part of its attention"});
  }
  if (config.attention_cap > 0) {
    remarks.push_back({"attention_cap", format("attention scores are capped at {}", config.attention_cap)});
  }
}

void remark_on_config(const model::ModelConfig& config, std::vector<Remark>& remarks) {
  remark_on_attention(config, remarks);
  if (config.experts.count > 0) {
    remarks.push_back({"experts", format("{} experts in each layer, {} of them used for a token", config.experts.count,
                                         config.experts.used)});
  }
  for (const model::RopeConfig& rope : config.ropes) {
    if (rope.position_scale == 1.0f) continue;
    remarks.push_back({"rope_scaling", format("positions are scaled by {:.6g}{}", rope.position_scale,
                                              rope.yarn.original_context > 0
                                                  ? format(" (YaRN, from {} tokens)", rope.yarn.original_context)
                                                  : std::string())});
  }
  if (config.learned_positions)
    remarks.push_back({"learned_positions", "positions are learned vectors, not rotations"});
  if (config.parallel_residual) {
    remarks.push_back({"parallel_residual", "attention and feed-forward both start from the layer's input"});
  }
  if (config.logit_cap > 0) remarks.push_back({"logit_cap", format("logits are capped at {}", config.logit_cap)});
}

// Keys that belong to none of the groups that the format names.
void remark_on_keys(const gguf::File& file, std::vector<Remark>& remarks) {
  constexpr size_t kNamesMax = 5;
  const gguf::Value* value = file.find("general.architecture");
  const std::string architecture(value && value->as_string() ? *value->as_string() : "general");
  const std::string_view groups[] = {"general", "tokenizer", "split", "quantize", "adapter", architecture};
  std::string names;
  size_t unknown = 0;
  for (const gguf::MetadataEntry& entry : file.metadata()) {
    const std::string_view group = entry.key.substr(0, entry.key.find('.'));
    if (std::find(std::begin(groups), std::end(groups), group) != std::end(groups)) continue;
    if (unknown++ < kNamesMax) names += (names.empty() ? "" : ", ") + printable(fit_width(entry.key, 60));
  }
  if (unknown == 0) return;
  remarks.push_back({"unknown_keys", format("{} metadata keys are of no known group: {}{}", unknown, names,
                                            unknown > kNamesMax ? ", ..." : "")});
}

void remark_on_vocabulary(const Findings& found, std::vector<Remark>& remarks) {
  if (found.tokenizer && chat_template(found.file) == nullptr) {
    remarks.push_back({"no_chat_template", "no chat template: a base model, or one whose template was left out"});
  }
  if (!found.config || !found.tokenizer) return;
  const int tokens = (*found.tokenizer)->vocabulary_size();
  if (tokens == found.config->vocabulary) return;
  remarks.push_back({"vocabulary_size",
                     format("the vocabulary has {} tokens, the embeddings {} rows", tokens, found.config->vocabulary)});
}

void count_parameters(Findings& found) {
  for (const gguf::Tensor& tensor : found.file.tensors()) {
    const uint64_t elements = tensor.elements();
    found.parameters += elements;
    const bool is_shared = !found.config || found.config->experts.count == 0 || !is_of_experts(tensor);
    // Whole experts, so the division leaves nothing.
    found.parameters_active += is_shared ? elements
                                         : elements / static_cast<uint64_t>(found.config->experts.count) *
                                               static_cast<uint64_t>(found.config->experts.used);
  }
}

void examine_chat_template(Findings& found, Services& services) {
  if (!found.tokenizer) return;
  found.chat = chat::ChatTemplate::from_gguf(found.file, **found.tokenizer);
  if (!found.chat) return;
  chat::PromptRequest request{.messages = {}, .tools = {}, .variables = {}, .now = services.clock().wall_time()};
  request.messages.push_back({"user", "Hello", {}, {}, {}, {}});
  const auto prompt = (*found.chat)->render(request);
  if (!prompt) found.chat_renders = prompt.error();
}

}  // namespace

Findings examine_model(const gguf::File& file, const InspectOptions& options, Services& services) {
  model::ModelOptions model_options = model_options_of(options.model);
  model_options.memory_available_bytes = 0;  // Whether it fits is for the user to see, not a reason to say nothing.
  const int threads = threads_of(options.model);
  Findings found{.name = model_display_name(options.model.path),
                 .file = file,
                 .types = totals_by_type(file),
                 .config = model::read_model_config(file),
                 .memory = model::Model::estimate(file, threads, model_options),
                 .tokenizer = load_vocabulary(file, services),
                 .chat = chat::ChatTemplate::fallback(),
                 .chat_renders = {},
                 .threads = threads,
                 .unusual = {}};
  examine_chat_template(found, services);
  count_parameters(found);
  if (found.config) {
    constexpr int kDefaultContextMax = 4096;  // Of model::ModelOptions.
    const int trained = found.config->context_trained;
    found.context = options.model.context > 0 ? options.model.context : std::min(trained, kDefaultContextMax);
    remark_on_config(*found.config, found.unusual);
  }
  remark_on_tensors(file, found.unusual);
  remark_on_vocabulary(found, found.unusual);
  remark_on_keys(file, found.unusual);
  return found;
}

const gguf::Value* chat_template(const gguf::File& file) {
  const gguf::Value* value = file.find(chat::kTemplateKey);
  return value && value->as_string() ? value : nullptr;
}

std::vector<TokenId> end_tokens(const tokenizer::Tokenizer& tokenizer) {
  std::vector<TokenId> ids;
  for (TokenId id = 0; id < tokenizer.vocabulary_size(); ++id) {
    if (tokenizer.ends_generation(id)) ids.push_back(id);
  }
  return ids;
}

uint64_t kv_bytes_per_token(const model::ModelConfig& config) {
  const kv::PageShape shape{.kv_heads = config.kv_heads, .head_dim = config.head_dim};
  return kv::cache_bytes(shape, config.layers, kernels::kPageTokens) / kernels::kPageTokens;
}

}  // namespace infer::app
