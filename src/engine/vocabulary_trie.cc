#include "engine/vocabulary_trie.h"

namespace infer::engine {

std::shared_ptr<const grammar::TokenTrie> make_vocabulary_trie(const tokenizer::Tokenizer& tokenizer) {
  std::vector<TokenId> ends;
  for (TokenId token = 0; token < tokenizer.vocabulary_size(); ++token) {
    if (tokenizer.ends_generation(token)) ends.push_back(token);
  }
  return std::make_shared<const grammar::TokenTrie>(grammar::TokenTrie::build(
      tokenizer.vocabulary_size(), [&tokenizer](TokenId token) { return tokenizer.piece(token, false); }, ends));
}

}  // namespace infer::engine
