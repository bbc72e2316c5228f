// POST /v1/embeddings: texts in, one vector of unit length for each out.
// Thread safety: pure functions; a writer: one thread at a time.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "api/answer_writer.h"
#include "api/completion_request.h"
#include "api/field_reader.h"
#include "api/served_model.h"

namespace infer::api {

struct EmbeddingRequest {
  std::vector<CompletionPrompt> inputs;
  bool is_base64 = false;  // Little-endian floats, as OpenAI's libraries ask for them.
};

EmbeddingRequest read_embedding_request(FieldReader& fields, const ServedModel& model);

class EmbeddingAnswer final : public AnswerWriter {
 public:
  EmbeddingAnswer(std::string model, size_t inputs, bool is_base64)
      : model_(std::move(model)), is_base64_(is_base64), vectors_(inputs) {}

  std::string add(size_t, engine::AnswerPiece) override { return {}; }
  std::string end_choice(size_t choice, const engine::RequestResult& result) override;
  std::string end() override { return {}; }
  std::string failed(const ApiError&) override { return {}; }
  Json whole() override;

 private:
  const std::string model_;
  const bool is_base64_;
  std::vector<std::vector<float>> vectors_;
  int64_t prompt_tokens_ = 0;
};

// RFC 4648, with padding.
std::string base64_text(std::string_view bytes);

}  // namespace infer::api
