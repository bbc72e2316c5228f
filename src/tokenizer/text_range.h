// A part of a text, in bytes. Thread safety: a plain value.
#pragma once

#include <cstddef>

namespace infer::tokenizer {

struct TextRange {
  size_t begin;
  size_t end;  // Behind the last byte.
};

}  // namespace infer::tokenizer
