// A session at the prompt: lines in, answers out, until the user leaves. The conversation's KV cache stays between
// turns, so that each line costs only itself. Errors of a turn are shown and the session goes on. Thread safety: one
// thread.
#pragma once

#include <memory>

#include "app/command_line.h"
#include "app/loading.h"
#include "app/services.h"
#include "base/result.h"
#include "engine/conversation_drafts.h"
#include "grammar/token_automaton.h"

namespace infer::app {

// `grammar`: what each answer follows; null: any text. drafts: of its conversations, or null.
Status run_interactive(const RunOptions& options, std::shared_ptr<grammar::TokenAutomaton> grammar, LoadedModel& loaded,
                       engine::ConversationDrafts* drafts, Services& services);

}  // namespace infer::app
