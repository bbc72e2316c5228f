#include "app/interactive.h"

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "app/line_editor.h"
#include "app/loading.h"
#include "app/session_command.h"
#include "app/turn.h"
#include "base/format.h"
#include "chat/dialogue.h"
#include "engine/generation.h"
#include "os/interrupt.h"

namespace infer::app {
namespace {

constexpr std::string_view kBlockMark = "\"\"\"";

class Session {
 public:
  Session(const RunOptions& options, std::shared_ptr<grammar::TokenAutomaton> grammar, LoadedModel& loaded,
          engine::ConversationDrafts* drafts, Services& services)
      : options_(options),
        grammar_(std::move(grammar)),
        loaded_(loaded),
        drafts_(drafts),
        services_(services),
        at_terminal_(services.input_is_terminal() && services.output_is_terminal()),
        editor_(at_terminal_ ? LineEditor::for_terminal(history_path()) : LineEditor::for_pipe()),
        settings_{.sampling = options.sampling, .tokens_max = options.tokens_max} {}

  Status run() {
    INFER_TRY(open_chat());
    if (at_terminal_) services_.err().remark(format("{}: /help lists the commands, Ctrl-D leaves", loaded_.name));
    if (options_.prompt.text) INFER_TRY(answer(*options_.prompt.text));
    while (!done_) {
      const LineEditor::Line line = read_input();
      if (line.outcome == LineEditor::Outcome::kEnd) break;
      if (line.outcome == LineEditor::Outcome::kCleared) continue;
      editor_->remember(line.text);
      INFER_TRY(is_session_command(line.text) ? obey(line.text) : answer(line.text));
    }
    return {};
  }

 private:
  // A line, or all lines between two """; a block that is cut off by the end counts as it is.
  LineEditor::Line read_input() {
    LineEditor::Line line = editor_->read(">>> ");
    if (line.outcome != LineEditor::Outcome::kLine || line.text.rfind(kBlockMark, 0) != 0) return line;
    std::string block = line.text.substr(kBlockMark.size());
    while (true) {
      const size_t end = block.find(kBlockMark);
      if (end != std::string::npos) return {LineEditor::Outcome::kLine, block.substr(0, end)};
      LineEditor::Line next = editor_->read("... ");
      if (next.outcome == LineEditor::Outcome::kCleared) return next;
      if (next.outcome == LineEditor::Outcome::kEnd) return {LineEditor::Outcome::kLine, block};
      if (!block.empty()) block += '\n';
      block += next.text;
    }
  }

  Status obey(const std::string& line) {
    const auto command = parse_session_command(line);
    if (!command) return show(command.error());
    switch (command->verb) {
      case SessionVerb::kHelp: return services_.out().write(session_help());
      case SessionVerb::kBye: done_ = true; return {};
      case SessionVerb::kReset:
        history_.clear();
        conversation_.reset();
        if (dialogue_) dialogue_->clear();
        return {};
      case SessionVerb::kStats:
        return services_.out().write((last_ ? summary_line(*last_) : std::string("nothing was generated yet")) + "\n");
      case SessionVerb::kSet: break;
    }
    if (command->name.empty()) return services_.out().write(settings_text(settings_));
    const Status applied = apply_setting(command->name, command->value, settings_);
    if (!applied) return show(applied.error());
    conversation_.reset();  // A sampler is fixed; the next turn reads the text so far again.
    return {};
  }

  Status show(const Error& error) {
    services_.err().error(error.message);
    return {};
  }

  Status answer(const std::string& text) {
    const Status valid = check_utf8(text, "the prompt");
    if (!valid) return show(valid.error());
    if (text.empty() && (dialogue_ || history_.empty())) return {};
    auto result = dialogue_ ? reply(text) : go_on(text);
    if (!result) {
      if (services_.out().reader_gone() || result.error().code == ErrorCode::kIo) return std::move(result).error();
      return show(result.error());
    }
    services_.err().remark(summary_line(*result));
    last_ = std::move(*result);
    if (last_->finish_reason == engine::FinishReason::kDeadline) {
      return Error{ErrorCode::kDeadline, "run: the deadline has passed; what was generated is above"};
    }
    return {};
  }

  // By the model's chat template: asked for, or in a session with a model that has one.
  Status open_chat() {
    if (options_.chat == false) return {};
    if (!options_.chat && loaded_.file->find(chat::kTemplateKey) == nullptr) return {};
    INFER_ASSIGN(chat_, load_chat_template(loaded_, services_));
    dialogue_.emplace(*chat_, *loaded_.tokenizer, options_.system);
    return {};
  }

  // Continues the text so far with what was typed. A new line of input is a new line of the text.
  Result<engine::GenerationResult> go_on(const std::string& text) {
    const bool first = history_.empty();
    std::vector<TokenId> prompt;
    if (!text.empty()) {
      prompt = loaded_.tokenizer->encode(first ? text : "\n" + text,
                                         {.add_special = first, .parse_special = options_.parse_special});
    }
    return generate(prompt);
  }

  // Answers a message of a chat.
  Result<engine::GenerationResult> reply(const std::string& text) {
    if (!conversation_) dialogue_->forget_reading();
    INFER_ASSIGN(const chat::Dialogue::Turn turn, dialogue_->ask(text, services_.clock().wall_time()));
    if (!turn.continues) {
      history_.clear();
      conversation_.reset();
    }
    auto result = generate(turn.tokens);
    const bool was_read = conversation_ && conversation_->length() == static_cast<int>(history_.size());
    if (result && was_read) {
      dialogue_->answered(result->text);
    } else {
      dialogue_->withdraw();
      history_.clear();
      conversation_.reset();
    }
    return result;
  }

  Result<engine::GenerationResult> generate(const std::vector<TokenId>& prompt) {
    std::vector<TokenId> unread = prompt;
    if (!conversation_) {
      INFER_ASSIGN(conversation_,
                   engine::Conversation::make(*loaded_.model, *loaded_.tokenizer, settings_.sampling, drafts_));
      unread = history_;
      unread.insert(unread.end(), prompt.begin(), prompt.end());
    }
    const engine::GenerationOptions turn{.tokens_max = settings_.tokens_max,
                                         .ignore_end_tokens = options_.ignore_end_tokens,
                                         .stops = options_.stops,
                                         .grammar = grammar_};
    services_.interrupt().reset();
    const os::InterruptGuard guard(services_.interrupt());
    auto result =
        run_turn(*conversation_, unread, turn, services_.call(options_.model.deadline), options_.stream, services_);
    if (!result) {
      if (history_.empty()) conversation_.reset();
      return result;
    }
    if (!options_.stream) INFER_TRY(services_.out().write(result->text + "\n"));
    history_.insert(history_.end(), prompt.begin(), prompt.end());
    history_.insert(history_.end(), result->tokens.begin(), result->tokens.end());
    return result;
  }

  const RunOptions& options_;
  const std::shared_ptr<grammar::TokenAutomaton> grammar_;
  LoadedModel& loaded_;
  engine::ConversationDrafts* const drafts_;
  Services& services_;
  bool at_terminal_;
  std::unique_ptr<LineEditor> editor_;
  SessionSettings settings_;
  std::unique_ptr<engine::Conversation> conversation_;
  std::vector<TokenId> history_;  // Everything said so far, to begin again after a change of settings.
  std::unique_ptr<chat::ChatTemplate> chat_;
  std::optional<chat::Dialogue> dialogue_;  // Absent: the session continues a text.
  std::optional<engine::GenerationResult> last_;
  bool done_ = false;
};

}  // namespace

Status run_interactive(const RunOptions& options, std::shared_ptr<grammar::TokenAutomaton> grammar, LoadedModel& loaded,
                       engine::ConversationDrafts* drafts, Services& services) {
  return Session(options, std::move(grammar), loaded, drafts, services).run();
}

}  // namespace infer::app
