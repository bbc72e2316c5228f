#include "chat/channel_parser.h"

#include <algorithm>
#include <iterator>
#include <utility>
#include <vector>

#include "chat/tool_call_json.h"

namespace infer::chat {
namespace {

constexpr std::string_view kSpace = " \t\r\n";
constexpr std::string_view kChannel = "<|channel|>";
constexpr std::string_view kMessage = "<|message|>";
constexpr std::string_view kStart = "<|start|>";
constexpr std::string_view kRecipient = "to=";
constexpr std::string_view kFunctions = "functions.";
// Each ends a body.
constexpr std::string_view kBodyEnds[] = {"<|end|>", "<|call|>", "<|return|>", kStart, kChannel};

bool starts_or_may(std::string_view text, std::string_view word) {
  const size_t common = std::min(text.size(), word.size());
  return text.substr(0, common) == word.substr(0, common);
}

// Up to white space or the next word in angle brackets.
std::string_view word_at(std::string_view text) { return text.substr(0, text.find_first_of(" \t\r\n<")); }

}  // namespace

AnswerParts ChannelParser::push(std::string_view text) {
  AnswerParts parts;
  held_ += text;
  while (step(parts, false)) {
  }
  return parts;
}

AnswerParts ChannelParser::finish() {
  AnswerParts parts;
  while (step(parts, true)) {
  }
  return parts;
}

// False: more text is needed, or none is left.
bool ChannelParser::step(AnswerParts& parts, bool at_end) {
  switch (state_) {
    case State::kStart: return step_start(at_end);
    case State::kHeader: return step_header(at_end);
    case State::kBody: return step_body(parts, at_end);
  }
  return false;
}

// The prompt ended with the role, so a header goes on here; else there is none.
bool ChannelParser::step_start(bool at_end) {
  const size_t space = std::min(held_.find_first_not_of(kSpace), held_.size());
  const std::string_view text = std::string_view(held_).substr(space);
  bool may_be = false;
  for (const std::string_view word : {kChannel, kRecipient, kStart, kMessage}) {
    if (!starts_or_may(text, word)) continue;
    if (text.size() >= word.size()) {
      state_ = State::kHeader;
      return true;
    }
    may_be = true;
  }
  if (may_be && !at_end) return false;
  state_ = State::kBody;
  body_ = Body::kContent;
  return true;
}

bool ChannelParser::step_header(bool at_end) {
  const size_t end = held_.find(kMessage);
  if (end == std::string::npos) {
    if (at_end) held_.clear();  // A header without a body says nothing.
    return false;
  }
  read_header(std::string_view(held_).substr(0, end));
  held_.erase(0, end + kMessage.size());
  state_ = State::kBody;
  return true;
}

void ChannelParser::read_header(std::string_view header) {
  function_.clear();
  const size_t to = header.find(kRecipient);
  if (to != std::string_view::npos) {
    std::string_view name = word_at(header.substr(to + kRecipient.size()));
    if (name.substr(0, kFunctions.size()) == kFunctions) name.remove_prefix(kFunctions.size());
    function_ = name;
  }
  const size_t mark = header.find(kChannel);
  const std::string_view channel = mark == std::string_view::npos ? "" : word_at(header.substr(mark + kChannel.size()));
  if (finds_tool_calls_ && !function_.empty()) {
    body_ = Body::kCall;
  } else {
    body_ = channel == "analysis" ? Body::kReasoning : Body::kContent;
  }
}

bool ChannelParser::step_body(AnswerParts& parts, bool at_end) {
  // Up to the first word that ends it; what may become such a word waits.
  size_t end = 0;
  std::string_view found;
  while (found.empty() && (end = held_.find('<', end)) != std::string::npos) {
    const std::string_view rest = std::string_view(held_).substr(end);
    bool may_be = false;
    for (const std::string_view word : kBodyEnds) {
      if (!starts_or_may(rest, word)) continue;
      may_be = true;
      if (rest.size() >= word.size()) found = word;
    }
    if (may_be && found.empty() && !at_end) break;
    if (found.empty()) ++end;
  }
  const size_t bytes = std::min(end, held_.size());
  if (found.empty() && !at_end) {
    if (body_ != Body::kCall) take_body(bytes, parts);  // The JSON of a call is read whole.
    return false;
  }
  if (body_ == Body::kCall) {
    end_call(bytes, parts);
  } else {
    take_body(bytes, parts);
  }
  if (found.empty()) return false;
  // A header begins behind <|start|>, or with <|channel|>; what stands before is none of anybody's.
  if (found != kChannel) held_.erase(0, found.size());
  state_ = State::kHeader;
  return true;
}

void ChannelParser::take_body(size_t bytes, AnswerParts& parts) {
  std::string& part = body_ == Body::kReasoning ? parts.reasoning : parts.content;
  part.append(held_, 0, bytes);
  held_.erase(0, bytes);
}

// What is no JSON object is content.
void ChannelParser::end_call(size_t bytes, AnswerParts& parts) {
  std::vector<ToolCall> calls = read_named_call(function_, std::string_view(held_).substr(0, bytes));
  if (calls.empty()) return take_body(bytes, parts);
  std::move(calls.begin(), calls.end(), std::back_inserter(parts.tool_calls));
  held_.erase(0, bytes);
}

}  // namespace infer::chat
