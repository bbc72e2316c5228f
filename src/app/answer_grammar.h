// What --grammar, --json-schema and --json-object ask for, from text or file to a grammar that answers follow.
//
// A grammar or schema that is wrong is kInvalidArgument when it stood on the command line and kCorrupt, with the file's
// name, when it came from a file. Thread safety: one thread.
#pragma once

#include <memory>

#include "app/command_line.h"
#include "base/result.h"
#include "grammar/grammar.h"

namespace infer::app {

// Null when nothing was asked for.
Result<std::shared_ptr<const grammar::Grammar>> read_answer_grammar(const GrammarChoice& choice);

}  // namespace infer::app
