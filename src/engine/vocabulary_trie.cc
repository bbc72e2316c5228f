#include "engine/vocabulary_trie.h"

#include <algorithm>

namespace infer::engine {

std::shared_ptr<const grammar::TokenTrie> make_vocabulary_trie(const tokenizer::Tokenizer& tokenizer,
                                                               std::span<const TokenId> shown_controls) {
  std::vector<TokenId> ends;
  for (TokenId token = 0; token < tokenizer.vocabulary_size(); ++token) {
    if (tokenizer.ends_generation(token)) ends.push_back(token);
  }
  const auto piece = [&tokenizer, shown_controls](TokenId token) {
    const bool is_shown = std::find(shown_controls.begin(), shown_controls.end(), token) != shown_controls.end();
    return tokenizer.piece(token, is_shown);
  };
  return std::make_shared<const grammar::TokenTrie>(
      grammar::TokenTrie::build(tokenizer.vocabulary_size(), piece, ends));
}

}  // namespace infer::engine
