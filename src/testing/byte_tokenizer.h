// A tokenizer without merges: one token per byte, then BOS (256) and EOS (257).
#pragma once

#include <memory>

#include "base/log.h"
#include "tokenizer/handmade_vocabulary.h"

namespace infer::testing {

inline constexpr int kByteTokens = 258;

inline std::unique_ptr<tokenizer::Tokenizer> make_byte_tokenizer(bool add_bos) {
  tokenizer::HandmadeVocabulary vocabulary;
  vocabulary.start_byte_level();
  vocabulary.data().bos = vocabulary.add("<bos>", tokenizer::TokenKind::kControl);
  vocabulary.data().eos = vocabulary.add("<eos>", tokenizer::TokenKind::kControl);
  vocabulary.data().add_bos = add_bos;
  NullLog log;
  return tokenizer::make_tokenizer(vocabulary.data(), log).value();
}

}  // namespace infer::testing
