// What `inspect` finds out about a model file, before it is printed: sizes, types, the model, its vocabulary, and what
// is out of the ordinary. The parts that a file does not have (a vocabulary alone has no model) carry their error.
// Ownership: borrows the file. Thread safety: a plain value, made on one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "app/command_line.h"
#include "app/services.h"
#include "base/ids.h"
#include "base/result.h"
#include "chat/chat_template.h"
#include "gguf/file.h"
#include "model/model.h"
#include "model/model_config.h"
#include "tokenizer/tokenizer.h"

namespace infer::app {

struct TypeTotal {
  std::string name;
  uint64_t tensors = 0;
  uint64_t bytes = 0;
};

// Something that not every model has, or that a file should have; names are stable, scripts look for them.
struct Remark {
  std::string_view name;
  std::string text;
};

struct Findings {
  std::string name;
  const gguf::File& file;
  uint64_t parameters = 0;
  uint64_t parameters_active = 0;  // For one token: of experts, the chosen ones.
  std::vector<TypeTotal> types;    // Most bytes first.
  Result<model::ModelConfig> config;
  Result<model::MemoryEstimate> memory;
  Result<std::unique_ptr<tokenizer::Tokenizer>> tokenizer;
  Result<std::unique_ptr<chat::ChatTemplate>> chat;  // Of a file without a template: the fallback.
  Status chat_renders;                               // A message of a user.
  int context = 0;                                   // That `memory` is for.
  int threads = 1;
  std::vector<Remark> unusual;
};

Findings examine_model(const gguf::File& file, const InspectOptions& options, Services& services);

// Null: the file has none.
const gguf::Value* chat_template(const gguf::File& file);
// The tokens after which an answer ends.
std::vector<TokenId> end_tokens(const tokenizer::Tokenizer& tokenizer);
// In 16 bits, all layers.
uint64_t kv_bytes_per_token(const model::ModelConfig& config);

}  // namespace infer::app
