// The tree of a tokenizer's tokens that grammars are followed with; made once for a vocabulary and shared.
// Thread safety: pure function.
#pragma once

#include <memory>
#include <span>

#include "base/ids.h"
#include "grammar/token_trie.h"
#include "tokenizer/tokenizer.h"

namespace infer::engine {

// Tokens by the bytes that they add to an answer, in which those control tokens are shown; end-of-generation tokens end
// a text. Some 50 ms for 150,000 tokens.
std::shared_ptr<const grammar::TokenTrie> make_vocabulary_trie(const tokenizer::Tokenizer& tokenizer,
                                                               std::span<const TokenId> shown_controls = {});

}  // namespace infer::engine
