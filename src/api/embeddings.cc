#include "api/embeddings.h"

#include <bit>
#include <cstdint>
#include <utility>

#include "base/format.h"

namespace infer::api {

namespace {

std::string little_endian_bytes(const std::vector<float>& values) {
  std::string bytes;
  for (const float value : values) {
    const auto word = std::bit_cast<uint32_t>(value);
    for (int shift = 0; shift < 32; shift += 8) bytes += static_cast<char>(word >> shift & 0xFF);
  }
  return bytes;
}

}  // namespace

EmbeddingRequest read_embedding_request(FieldReader& fields, const ServedModel& model) {
  EmbeddingRequest request;
  check_model(fields, model);
  request.inputs = read_prompts(fields, "input", model.tokenizer.vocabulary_size(), 1);
  const std::string_view format = fields.text("encoding_format").value_or("float");
  if (format != "float" && format != "base64") {
    fields.fail("encoding_format", "Invalid 'encoding_format': expected 'float' or 'base64'.");
  }
  request.is_base64 = format == "base64";
  if (fields.any("dimensions") != nullptr) {
    fields.fail("dimensions", "'dimensions' is not supported: vectors have the width of the model.",
                "unsupported_parameter");
  }
  return request;
}

std::string EmbeddingAnswer::end_choice(size_t choice, const engine::RequestResult& result) {
  vectors_[choice] = result.embedding;
  prompt_tokens_ += result.prompt_tokens;
  return {};
}

Json EmbeddingAnswer::whole() {
  Json data = Json::array();
  for (size_t i = 0; i < vectors_.size(); ++i) {
    data.push(Json::object()
                  .set("object", "embedding")
                  .set("index", i)
                  .set("embedding",
                       is_base64_ ? Json(base64_text(little_endian_bytes(vectors_[i]))) : Json::array_of(vectors_[i])));
  }
  return Json::object()
      .set("object", "list")
      .set("data", std::move(data))
      .set("model", model_)
      .set("usage", Json::object().set("prompt_tokens", prompt_tokens_).set("total_tokens", prompt_tokens_));
}

std::string base64_text(std::string_view bytes) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t group = 0;
    for (size_t j = i; j < i + 3; ++j) {
      group = group << 8 | (j < bytes.size() ? static_cast<unsigned char>(bytes[j]) : 0u);
    }
    for (size_t digit = 0; digit < 4; ++digit) {
      const bool is_padding = i + digit > bytes.size();
      text += is_padding ? '=' : kDigits[group >> (18 - 6 * digit) & 63];
    }
  }
  return text;
}

}  // namespace infer::api
