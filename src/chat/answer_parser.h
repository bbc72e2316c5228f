// Takes an answer apart while it grows: what the model thought, what it says, which tools it calls.
//
// Text comes in pieces of any size; the parts do not depend on how it was cut. Text that may still become a tag or a
// call is held back until it is clear. What looks like a call and is none (its JSON is broken, or it never ends) is
// content, so nothing of an answer is ever lost. Tags like [TOOL_CALLS] are control tokens of some vocabularies: the
// text must have been made with them shown. Thread safety: none, one answer.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "chat/message.h"
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
  };
  // What a piece of text added.
  struct Parts {
    std::string content;
    std::string reasoning;
    std::vector<ToolCall> tool_calls;  // Complete ones; ids as the model gave them, mostly empty.
  };

  explicit AnswerParser(Options options);

  Parts push(std::string_view text);
  // The end of the answer: what was held back becomes what it is.
  Parts finish();

 private:
  enum class State { kStart, kReasoning, kBehindReasoning, kContent, kCall, kBehindCall };

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
  State state_;
  std::string held_;        // Text that is not given out yet.
  std::string call_begin_;  // The tag before a call in held_, in case it turns out to be none.
  std::string call_name_;   // Of Mistral's name[ARGS]{...}.
  JsonEndFinder json_;
  bool reasoning_begun_ = false;
};

// Whether the text ends with the opening tag, white space aside: the answer then begins inside of it.
bool ends_in_reasoning(std::string_view prompt, const ReasoningTags& tags);

}  // namespace infer::chat
