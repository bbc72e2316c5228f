// Takes an answer apart while it grows: what the model thought, what it says, which tools it calls.
//
// Text comes in pieces of any size; the parts do not depend on how it was cut. Text that may still become a tag or a
// call is held back until it is clear. What looks like a call and is none (its JSON is broken, or it never ends) is
// content, so nothing of an answer is ever lost. Tags like [TOOL_CALLS] are control tokens of some vocabularies: the
// text must have been made with them shown (chat/answer_markers.h). Thread safety: none, one answer.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "chat/answer_parts.h"
#include "chat/channel_parser.h"
#include "chat/tool_call_format.h"

namespace infer::chat {

// Finds the end of a JSON object or array in a text that grows, looking at every byte once.
class JsonEndFinder {
 public:
  // Looks at the bytes of `text` that it has not seen. True when the value that begins at byte 0 is complete.
  bool advance(std::string_view text);
  size_t end() const { return seen_; }  // Behind it, once it is complete.

 private:
  size_t seen_ = 0;
  size_t depth_ = 0;
  bool in_string_ = false;
  bool escaped_ = false;
};

class AnswerParser {
 public:
  struct Options {
    ReasoningTags reasoning;           // Empty: none is looked for.
    bool starts_in_reasoning = false;  // The prompt ended behind the opening tag.
    bool finds_tool_calls = false;     // The request had tools.
    ToolCallFormat tool_call_format = ToolCallFormat::kJson;
    bool has_one_call_at_most = false;  // Further calls are left out.
  };
  using Parts = AnswerParts;

  explicit AnswerParser(Options options);

  Parts push(std::string_view text);
  // The end of the answer: what was held back becomes what it is.
  Parts finish();
  // Of the text so far, what has not become a part of anything yet.
  size_t held_bytes() const;

 private:
  enum class State { kStart, kReasoning, kBehindReasoning, kContent, kCall, kBehindCall };

  Parts parse(std::string_view text, bool at_end);
  bool step(Parts& parts, bool at_end);
  bool step_start(bool at_end);
  bool step_reasoning(Parts& parts, bool at_end);
  bool step_behind_reasoning();
  bool step_content(Parts& parts, bool at_end);
  bool step_call(Parts& parts, bool at_end);
  bool step_behind_call(bool at_end);
  void begin_call(size_t tag_bytes);
  bool give_up_call(Parts& parts);
  bool read_call_name(bool at_end);
  bool takes_bare_json() const;
  std::string_view call_tag() const;  // "" where calls have none.

  Options options_;
  std::optional<ChannelParser> channels_;  // Which does all of it for answers in channels.
  bool has_call_ = false;
  State state_;
  std::string held_;        // Text that is not given out yet.
  std::string call_begin_;  // The tag before a call in held_, in case it turns out to be none.
  std::string call_name_;   // Of Mistral's name[CALL_ID]id[ARGS]{...},
  std::string call_id_;     // and its id, where it has one.
  JsonEndFinder json_;
  bool reasoning_begun_ = false;
};

// Whether the text ends with the opening tag, white space aside: the answer then begins inside of it.
bool ends_in_reasoning(std::string_view prompt, const ReasoningTags& tags);

}  // namespace infer::chat
