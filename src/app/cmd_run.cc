#include "app/answer_grammar.h"
#include "app/commands.h"
#include "app/draft_loading.h"
#include "app/interactive.h"
#include "app/loading.h"
#include "app/text_width.h"
#include "app/turn.h"
#include "base/format.h"
#include "chat/dialogue.h"
#include "engine/conversation_drafts.h"
#include "engine/generation.h"
#include "engine/vocabulary_trie.h"
#include "os/interrupt.h"
#include "os/process_facts.h"

namespace infer::app {
namespace {

constexpr int kEchoColumnsMax = 2000;

api::Json as_json(const std::array<int, kv::kLevelCount>& pages) {
  return api::Json::object().set("L0", pages[0]).set("L1", pages[1]).set("L2", pages[2]).set("L3", pages[3]);
}

api::Json as_json(const engine::GenerationResult& result, const RunOptions& options, const LoadedModel& loaded) {
  api::Json layers = api::Json::array();
  for (const auto& pages : result.kv_layers) layers.push(as_json(pages));
  return api::Json::object()
      .set("model", loaded.name)
      .set("text", result.text)
      .set("finish_reason", engine::finish_reason_name(result.finish_reason))
      .set("prompt_tokens", result.prompt_tokens)
      .set("generated_tokens", result.generated_tokens())
      .set("tokens", api::Json::array_of(result.tokens))
      .set("drafted_tokens", result.drafted_tokens)
      .set("accepted_tokens", result.accepted_tokens)
      .set("prefill_tokens_per_second", result.prefill_tokens_per_second())
      .set("decode_tokens_per_second", result.decode_tokens_per_second())
      .set("time_to_first_token_ms", result.time_to_first_token.ms())
      .set("load_ms", loaded.load_time.ms())
      .set("weights", weights_source_name(*loaded.model))
      .set("ctx", loaded.model->options().context)
      .set("kv_bytes", result.kv_bytes)
      .set("kv_bytes_f16", result.kv_bytes_f16)
      .set("kv_levels", as_json(result.kv_pages))
      .set("kv_layers", std::move(layers))
      .set("kv_expected_kld", result.kv_expected_divergence ? api::Json(*result.kv_expected_divergence) : api::Json())
      .set("seed", options.sampling.seed)
      .set("threads", loaded.model->threads())
      .set("isa", loaded.model->kernels().name)
      .set("peak_rss_bytes", os::peak_resident_bytes() ? api::Json(*os::peak_resident_bytes()) : api::Json());
}

// What a turn that was cut short means for the exit code. Its text has been printed.
Status ending(const engine::GenerationResult& result) {
  const int tokens = result.generated_tokens();
  if (result.finish_reason == engine::FinishReason::kDeadline) {
    return Error{ErrorCode::kDeadline, format("run: the deadline passed after {} tokens; they are kept", tokens)};
  }
  if (result.finish_reason == engine::FinishReason::kCancelled) {
    return Error{ErrorCode::kCancelled, format("run: stopped after {} tokens", tokens)};
  }
  if (result.finish_reason == engine::FinishReason::kNoToken) {
    return Error{
        ErrorCode::kUnsupported,
        format("run: after {} tokens the grammar goes on with text that no token of this model has: change the "
               "grammar or the model",
               tokens)};
  }
  return {};
}

// The prompt as it is, or as the user's message of a chat.
Result<std::vector<TokenId>> prompt_tokens(const RunOptions& options, const std::string& prompt,
                                           const LoadedModel& loaded, Services& services) {
  if (!options.chat.value_or(false)) {
    return loaded.tokenizer->encode(prompt, {.parse_special = options.parse_special});
  }
  INFER_ASSIGN(const auto chat, load_chat_template(loaded, services));
  chat::Dialogue dialogue(*chat, *loaded.tokenizer, options.system);
  INFER_ASSIGN(chat::Dialogue::Turn turn, dialogue.ask(prompt, services.clock().wall_time()));
  return std::move(turn.tokens);
}

Status run_once(const RunOptions& options, const std::string& prompt, std::shared_ptr<grammar::TokenAutomaton> grammar,
                LoadedModel& loaded, engine::ConversationDrafts* drafts, const CallContext& call, Services& services) {
  INFER_ASSIGN(const auto conversation,
               engine::Conversation::make(*loaded.model, *loaded.tokenizer, options.sampling, drafts));
  INFER_ASSIGN(const std::vector<TokenId> ids, prompt_tokens(options, prompt, loaded, services));
  const engine::GenerationOptions turn{.tokens_max = options.tokens_max,
                                       .ignore_end_tokens = options.ignore_end_tokens,
                                       .stops = options.stops,
                                       .grammar = std::move(grammar)};
  const bool stream = options.stream && !options.json;
  // A person sees the text as a whole, a program only the answer.
  if (stream && services.output_is_terminal() && !options.chat.value_or(false)) {
    services.err().quote(fit_width(printable(prompt), kEchoColumnsMax));
  }
  INFER_ASSIGN(const engine::GenerationResult result, run_turn(*conversation, ids, turn, call, stream, services));
  if (options.json) {
    INFER_TRY(services.out().write_json(as_json(result, options, loaded)));
  } else if (!stream) {
    INFER_TRY(services.out().write(services.output_is_terminal() ? printable(result.text) + "\n" : result.text + "\n"));
  }
  services.err().remark(summary_line(result));
  finish_storing_weights(*loaded.model, call, services);
  return ending(result);
}

// Lowered pages get what their tokens' attention says, that of drafts too: without being asked for, no drafts may make
// the same seed give another answer.
bool wants_drafts(const RunOptions& options) {
  const bool exact = options.model.levels.mode == kv::KvMode::kF16;
  return options.model.draft_max > 0 && (exact || !options.model.draft_path.empty());
}

std::unique_ptr<engine::ConversationDrafts> make_drafts(const RunOptions& options, const LoadedModel& loaded,
                                                        LoadedDraft& draft, Services& services) {
  if (!wants_drafts(options)) return nullptr;
  return std::make_unique<engine::ConversationDrafts>(engine::SpeculationLimits{.draft_max = options.model.draft_max},
                                                      draft.model ? engine::make_model_runner(*draft.model) : nullptr,
                                                      loaded.tokenizer->vocabulary_size(), services.clock());
}

}  // namespace

Status run_command(const RunOptions& given, Services& services) {
  RunOptions options = given;
  if (!options.seed_given) {
    options.sampling.seed = static_cast<uint64_t>(services.clock().wall_time().unix_ms);
  }
  INFER_TRY(options.sampling.validate());
  // Ctrl-C ends loading and a single answer; a session catches it anew for each of its answers.
  std::optional<os::InterruptGuard> guard;
  guard.emplace(services.interrupt());
  const CallContext call = services.call(options.model.deadline);

  std::string prompt;
  const bool piped = !services.input_is_terminal() && !options.interactive;
  if (!options.interactive || options.prompt.text || !options.prompt.file.empty()) {
    INFER_ASSIGN(prompt, read_text(options.prompt, piped));
    if (prompt.empty() && !options.prompt.text) {  // -p "" is on purpose: any text at all.
      return Error{ErrorCode::kInvalidArgument, "run: the prompt is empty: give -p TEXT, -f FILE, or pipe it in"};
    }
    // The line feed that ends a file is not part of what was written; models would start a new line after it.
    if (!options.prompt.text && !prompt.empty() && prompt.back() == '\n') prompt.pop_back();
    options.prompt.text = prompt;
  }
  INFER_ASSIGN(const std::shared_ptr<const grammar::Grammar> grammar, read_answer_grammar(options.grammar));
  model::ModelOptions model_options = model_options_of(options.model);
  if (wants_drafts(options)) model_options.logits_per_step = 1 + kDraftRows;
  INFER_ASSIGN(LoadedModel loaded, load_model(options.model, model_options, true, call, services));
  INFER_ASSIGN(LoadedDraft draft, load_draft(options.model, loaded, 1, call, services));
  const auto drafts = make_drafts(options, loaded, draft, services);
  std::shared_ptr<grammar::TokenAutomaton> automaton;
  if (grammar) {
    automaton = std::make_shared<grammar::TokenAutomaton>(grammar, engine::make_vocabulary_trie(*loaded.tokenizer));
  }
  if (!options.interactive) return run_once(options, prompt, automaton, loaded, drafts.get(), call, services);
  guard.reset();
  const Status status = run_interactive(options, automaton, loaded, drafts.get(), services);
  services.interrupt().reset();
  guard.emplace(services.interrupt());
  finish_storing_weights(*loaded.model, call, services);
  return status;
}

}  // namespace infer::app
