// Takes an answer in channels apart, as gpt-oss writes them:
//
//   <|channel|>analysis<|message|>what it thinks<|end|><|start|>assistant to=functions.f<|channel|>commentary
//   <|constrain|>json<|message|>{"a": 1}
//
// A part has a header, up to <|message|>, and a body, up to one of the words that end or begin a part. The channel
// "analysis" is reasoning; what is addressed to somebody is a call; all other bodies are content. An answer that begins
// without a header is content up to the next part. The words are control tokens, so the text must have been made with
// them shown. Thread safety: none, one answer.
#pragma once

#include <string>
#include <string_view>

#include "chat/answer_parts.h"

namespace infer::chat {

class ChannelParser {
 public:
  // `finds_tool_calls`: else what is addressed to somebody is content.
  explicit ChannelParser(bool finds_tool_calls) : finds_tool_calls_(finds_tool_calls) {}

  AnswerParts push(std::string_view text);
  // The end of the answer: what was held back becomes what it is.
  AnswerParts finish();
  // Of the text so far, what is held back.
  size_t held_bytes() const { return held_.size(); }

 private:
  enum class State { kStart, kHeader, kBody };
  enum class Body { kContent, kReasoning, kCall };

  bool step(AnswerParts& parts, bool at_end);
  bool step_start(bool at_end);
  bool step_header(bool at_end);
  bool step_body(AnswerParts& parts, bool at_end);
  void read_header(std::string_view header);
  void take_body(size_t bytes, AnswerParts& parts);
  void end_call(size_t bytes, AnswerParts& parts);

  const bool finds_tool_calls_;
  State state_ = State::kStart;
  Body body_ = Body::kContent;
  std::string function_;  // That the body calls.
  std::string held_;      // Text that is not given out yet.
};

}  // namespace infer::chat
