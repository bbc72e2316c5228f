// From a GGUF file's tokenizer.ggml.* to VocabularyData.
#include <algorithm>
#include <string>

#include "base/format.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/vocabulary_data.h"

namespace infer::tokenizer {
namespace {

Error wrong_type(std::string_view key, std::string_view expected, const gguf::Value& found) {
  return {ErrorCode::kCorrupt, format("{} is {}; expected {}", key, found.to_text(60), expected)};
}

// Each reads a key into `target` if the file has it.
Status read_strings(const gguf::File& file, std::string_view key, std::vector<std::string_view>& target) {
  const gguf::Value* value = file.find(key);
  if (value == nullptr) return {};
  auto strings = value->as_strings();
  if (!strings) return wrong_type(key, "an array of strings", *value);
  target = std::move(*strings);
  return {};
}

Status read_floats(const gguf::File& file, std::string_view key, std::vector<float>& target) {
  const gguf::Value* value = file.find(key);
  if (value == nullptr) return {};
  auto floats = value->as_floats();
  if (!floats) return wrong_type(key, "an array of numbers", *value);
  target = std::move(*floats);
  return {};
}

Status read_ints(const gguf::File& file, std::string_view key, std::vector<int64_t>& target) {
  const gguf::Value* value = file.find(key);
  if (value == nullptr) return {};
  auto ints = value->as_ints();
  if (!ints) return wrong_type(key, "an array of integers", *value);
  target = std::move(*ints);
  return {};
}

Status read_int(const gguf::File& file, std::string_view key, std::optional<int64_t>& target) {
  const gguf::Value* value = file.find(key);
  if (value == nullptr) return {};
  target = value->as_int();
  return target ? Status() : wrong_type(key, "an integer", *value);
}

Status read_bool(const gguf::File& file, std::string_view key, std::optional<bool>& target) {
  const gguf::Value* value = file.find(key);
  if (value == nullptr) return {};
  target = value->as_bool();
  return target ? Status() : wrong_type(key, "true or false", *value);
}

// An array of bytes, which is what the map is; some writers make it signed.
Status read_bytes(const gguf::File& file, std::string_view key, std::string& target) {
  const gguf::Value* value = file.find(key);
  if (value == nullptr) return {};
  const bool is_bytes = value->type() == gguf::ValueType::kArray && (value->element_type() == gguf::ValueType::kUint8 ||
                                                                     value->element_type() == gguf::ValueType::kInt8);
  if (!is_bytes) return wrong_type(key, "an array of bytes", *value);
  target.assign(reinterpret_cast<const char*>(value->bytes().data()), value->bytes().size());
  return {};
}

// Phi-3's own tokenizer drops whitespace behind special tokens; the format has no key for it, only the model's name.
Result<bool> is_phi3(const gguf::File& file) {
  INFER_ASSIGN(const std::string_view name, file.get_string_or("general.name", ""));
  std::string lower(name);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return lower.find("phi-3") != std::string::npos || lower.find("phi3") != std::string::npos;
}

Result<VocabularyData> read_vocabulary(const gguf::File& file) {
  VocabularyData data;
  INFER_ASSIGN(data.model, file.get_string_or("tokenizer.ggml.model", "none"));
  if (const gguf::Value* pre = file.find("tokenizer.ggml.pre"); pre != nullptr) {
    data.pre = pre->as_string();
    if (!data.pre) return wrong_type("tokenizer.ggml.pre", "a string", *pre);
  }
  INFER_TRY(read_strings(file, "tokenizer.ggml.tokens", data.tokens));
  INFER_TRY(read_floats(file, "tokenizer.ggml.scores", data.scores));
  INFER_TRY(read_ints(file, "tokenizer.ggml.token_type", data.kinds));
  INFER_TRY(read_strings(file, "tokenizer.ggml.merges", data.merges));
  data.has_merges = file.find("tokenizer.ggml.merges") != nullptr;
  INFER_TRY(read_int(file, "tokenizer.ggml.bos_token_id", data.bos));
  INFER_TRY(read_int(file, "tokenizer.ggml.eos_token_id", data.eos));
  INFER_TRY(read_int(file, "tokenizer.ggml.unknown_token_id", data.unknown));
  INFER_TRY(read_int(file, "tokenizer.ggml.eot_token_id", data.end_of_turn));
  INFER_TRY(read_int(file, "tokenizer.ggml.eom_token_id", data.end_of_message));
  INFER_TRY(read_bool(file, "tokenizer.ggml.add_bos_token", data.add_bos));
  INFER_TRY(read_bool(file, "tokenizer.ggml.add_eos_token", data.add_eos));
  INFER_TRY(read_bool(file, "tokenizer.ggml.add_space_prefix", data.add_space_prefix));
  INFER_TRY(read_bool(file, "tokenizer.ggml.remove_extra_whitespaces", data.remove_extra_whitespaces));
  INFER_TRY(read_bytes(file, "tokenizer.ggml.precompiled_charsmap", data.character_map));
  INFER_ASSIGN(data.special_tokens_eat_whitespace, is_phi3(file));
  return data;
}

}  // namespace

Result<std::unique_ptr<Tokenizer>> Tokenizer::from_gguf(const gguf::File& file, Log& log) {
  Result<VocabularyData> data = read_vocabulary(file);
  Result<std::unique_ptr<Tokenizer>> tokenizer =
      data ? make_tokenizer(*data, log) : Result<std::unique_ptr<Tokenizer>>(std::move(data).error());
  if (!tokenizer) return std::move(tokenizer).error().with_context(file.name());
  return tokenizer;
}

}  // namespace infer::tokenizer
