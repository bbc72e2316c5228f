#include "api/served_model.h"

#include <algorithm>

namespace infer::api {

bool ServedModel::answers_to(std::string_view name) const {
  return name == id || std::find(aliases.begin(), aliases.end(), name) != aliases.end();
}

size_t longest_token_bytes(const tokenizer::Tokenizer& tokenizer) {
  size_t longest = 0;
  for (TokenId token = 0; token < tokenizer.vocabulary_size(); ++token) {
    longest = std::max(longest, tokenizer.piece(token, true).size());
  }
  return longest;
}

}  // namespace infer::api
