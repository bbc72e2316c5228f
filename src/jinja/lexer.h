// A template's text to tokens, with the white space control that Hugging Face sets: trim_blocks (the line feed behind a
// tag goes), lstrip_blocks (blanks before a tag that begins its line go), {%- -%} and {%+ +%} to override both. Line
// ends become line feeds and the last one of a template goes, as Jinja has it.
// Thread safety: a pure function.
#pragma once

#include <string_view>
#include <vector>

#include "base/result.h"
#include "jinja/token.h"

namespace infer::jinja {

// kCorrupt with line and column. The last token is kEnd.
Result<std::vector<Token>> cut_into_tokens(std::string_view source);

// "line 3, column 14: " before a message.
Error at_position(Position at, Error error);

}  // namespace infer::jinja
