#include "chat/answer_parser.h"

#include <algorithm>
#include <iterator>

#include "chat/tool_call_json.h"

namespace infer::chat {
namespace {

constexpr std::string_view kSpace = " \t\r\n";
constexpr std::string_view kCallEnd = "</tool_call>";
constexpr std::string_view kMistralTag = "[TOOL_CALLS]";
constexpr std::string_view kCallIdTag = "[CALL_ID]";
constexpr std::string_view kArgumentsTag = "[ARGS]";
constexpr size_t kNameBytesMax = 256;  // Of a function and the id of its call, in Mistral's name[ARGS]{...}.

size_t space_before(std::string_view text) { return std::min(text.find_first_not_of(kSpace), text.size()); }

bool starts_with(std::string_view text, std::string_view start) { return text.substr(0, start.size()) == start; }

// More text could make it begin with `tag`.
bool may_become(std::string_view text, std::string_view tag) {
  return text.size() < tag.size() && starts_with(tag, text);
}

// How many bytes at the end of the text may be the beginning of `tag`.
size_t begun_tag(std::string_view text, std::string_view tag) {
  if (tag.empty()) return 0;
  for (size_t size = std::min(tag.size() - 1, text.size()); size > 0; --size) {
    if (text.substr(text.size() - size) == tag.substr(0, size)) return size;
  }
  return 0;
}

void move_front(std::string& from, size_t bytes, std::string& to) {
  to.append(from, 0, bytes);
  from.erase(0, bytes);
}

}  // namespace

bool JsonEndFinder::advance(std::string_view text) {
  while (seen_ < text.size()) {
    const char c = text[seen_++];
    if (in_string_) {
      if (escaped_) {
        escaped_ = false;
      } else if (c == '\\') {
        escaped_ = true;
      } else if (c == '"') {
        in_string_ = false;
      }
    } else if (c == '"') {
      in_string_ = true;
    } else if (c == '{' || c == '[') {
      ++depth_;
    } else if ((c == '}' || c == ']') && --depth_ == 0) {
      return true;
    }
  }
  return false;
}

AnswerParser::AnswerParser(Options options)
    : options_(std::move(options)), state_(options_.starts_in_reasoning ? State::kReasoning : State::kStart) {
  if (options_.tool_call_format == ToolCallFormat::kHarmony) channels_.emplace(options_.finds_tool_calls);
}

bool AnswerParser::takes_bare_json() const {
  return options_.finds_tool_calls &&
         (options_.tool_call_format == ToolCallFormat::kLlama3 || options_.tool_call_format == ToolCallFormat::kJson);
}

std::string_view AnswerParser::call_tag() const {
  if (!options_.finds_tool_calls) return "";
  switch (options_.tool_call_format) {
    case ToolCallFormat::kHermes: return "<tool_call>";
    case ToolCallFormat::kMistral:
    case ToolCallFormat::kMistralNamed: return kMistralTag;
    case ToolCallFormat::kLlama3: return "<|python_tag|>";
    case ToolCallFormat::kHarmony:
    case ToolCallFormat::kJson: break;
  }
  return "";
}

AnswerParser::Parts AnswerParser::push(std::string_view text) { return parse(text, false); }
AnswerParser::Parts AnswerParser::finish() { return parse("", true); }

AnswerParser::Parts AnswerParser::parse(std::string_view text, bool at_end) {
  Parts parts;
  if (channels_) {
    parts = at_end ? channels_->finish() : channels_->push(text);
  } else {
    held_ += text;
    while (step(parts, at_end)) {
    }
  }
  if (options_.has_one_call_at_most && parts.tool_calls.size() > (has_call_ ? 0 : 1)) {
    parts.tool_calls.resize(has_call_ ? 0 : 1);
  }
  has_call_ = has_call_ || !parts.tool_calls.empty();
  return parts;
}

size_t AnswerParser::held_bytes() const {
  if (channels_) return channels_->held_bytes();
  return held_.size() + (state_ == State::kCall ? call_begin_.size() : 0);
}

// Does what the text at hand allows. False: more text is needed, or none is left.
bool AnswerParser::step(Parts& parts, bool at_end) {
  switch (state_) {
    case State::kStart: return step_start(at_end);
    case State::kReasoning: return step_reasoning(parts, at_end);
    case State::kBehindReasoning: return step_behind_reasoning();
    case State::kContent: return step_content(parts, at_end);
    case State::kCall: return step_call(parts, at_end);
    case State::kBehindCall: return step_behind_call(at_end);
  }
  return false;
}

// A tag or the JSON of a call may begin here. White space before it goes, before anything else it stays.
bool AnswerParser::step_start(bool at_end) {
  const size_t space = space_before(held_);
  const std::string_view text = std::string_view(held_).substr(space);
  const std::string_view open = options_.reasoning.open, tag = call_tag();
  if (!at_end && (text.empty() || may_become(text, open) || may_become(text, tag))) return false;
  if (!open.empty() && starts_with(text, open)) {
    held_.erase(0, space + open.size());
    state_ = State::kReasoning;
  } else if (!tag.empty() && starts_with(text, tag)) {
    begin_call(space + tag.size());
  } else if (takes_bare_json() && !text.empty() && (text[0] == '{' || text[0] == '[')) {
    begin_call(space);
  } else {
    state_ = State::kContent;
  }
  return true;
}

// Models write thoughts on lines of their own; white space at both ends is no part of them.
bool AnswerParser::step_reasoning(Parts& parts, bool at_end) {
  if (!reasoning_begun_) held_.erase(0, space_before(held_));
  reasoning_begun_ = reasoning_begun_ || !held_.empty();
  const std::string_view close = options_.reasoning.close;
  const size_t found = held_.find(close);
  const size_t end = found != std::string::npos ? found : held_.size() - (at_end ? 0 : begun_tag(held_, close));
  const size_t last = std::string_view(held_).substr(0, end).find_last_not_of(kSpace);
  move_front(held_, last == std::string::npos ? 0 : last + 1, parts.reasoning);
  if (found == std::string::npos) {
    if (at_end) held_.clear();
    return false;
  }
  held_.erase(0, held_.find(close) + close.size());
  state_ = State::kBehindReasoning;
  return true;
}

bool AnswerParser::step_content(Parts& parts, bool at_end) {
  const std::string_view tag = call_tag();
  const size_t found = tag.empty() ? std::string::npos : held_.find(tag);
  if (found != std::string::npos) {
    move_front(held_, found, parts.content);
    begin_call(tag.size());
    return true;
  }
  move_front(held_, held_.size() - (at_end ? 0 : begun_tag(held_, tag)), parts.content);
  return false;
}

void AnswerParser::begin_call(size_t tag_bytes) {
  call_begin_.clear();
  call_name_.clear();
  call_id_.clear();
  json_ = JsonEndFinder();
  move_front(held_, tag_bytes, call_begin_);
  state_ = State::kCall;
}

// It was no call: everything is content.
bool AnswerParser::give_up_call(Parts& parts) {
  parts.content += call_begin_;
  state_ = State::kContent;
  return true;
}

// Takes `name[ARGS]`, `name[CALL_ID]id[ARGS]` or `name` before a brace. False: more text is needed.
bool AnswerParser::read_call_name(bool at_end) {
  const size_t brace = held_.find('{');
  const size_t mark = held_.find(kArgumentsTag);
  const size_t end = std::min(brace, mark);
  if (end == std::string::npos) return at_end || held_.size() > kNameBytesMax;
  const size_t last = std::string_view(held_).substr(0, end).find_last_not_of(kSpace);
  if (last == std::string::npos || end > kNameBytesMax) return true;
  call_name_ = held_.substr(0, last + 1);
  if (const size_t id = call_name_.find(kCallIdTag); id != std::string::npos) {
    call_id_ = call_name_.substr(id + kCallIdTag.size());
    call_name_.resize(id);
  }
  move_front(held_, end + (mark == end ? kArgumentsTag.size() : 0), call_begin_);
  return true;
}

bool AnswerParser::step_call(Parts& parts, bool at_end) {
  if (json_.end() == 0) move_front(held_, space_before(held_), call_begin_);
  const auto begins_json = [this] { return !held_.empty() && (held_[0] == '{' || held_[0] == '['); };
  if (held_.empty()) return at_end ? give_up_call(parts) : false;
  const bool may_have_name = call_tag() == kMistralTag && call_name_.empty();
  if (!begins_json() && may_have_name) {
    if (!read_call_name(at_end)) return false;
    if (!call_name_.empty()) return true;
  }
  if (!begins_json()) return give_up_call(parts);
  if (!json_.advance(held_)) return at_end ? give_up_call(parts) : false;
  const std::string_view json = std::string_view(held_).substr(0, json_.end());
  std::vector<ToolCall> calls = call_name_.empty() ? read_tool_calls(json) : read_named_call(call_name_, json);
  if (calls.empty()) return give_up_call(parts);
  if (!call_id_.empty()) calls.front().id = call_id_;
  std::move(calls.begin(), calls.end(), std::back_inserter(parts.tool_calls));
  held_.erase(0, json_.end());
  state_ = State::kBehindCall;
  return true;
}

bool AnswerParser::step_behind_call(bool at_end) {
  held_.erase(0, space_before(held_));
  if (held_.empty()) return false;
  const bool has_end_tag = options_.tool_call_format == ToolCallFormat::kHermes;
  if (has_end_tag && !at_end && may_become(held_, kCallEnd)) return false;
  if (has_end_tag && starts_with(held_, kCallEnd)) {
    held_.erase(0, kCallEnd.size());
    return true;  // Once more, for the white space behind the tag.
  }
  state_ = State::kStart;
  return true;
}

bool AnswerParser::step_behind_reasoning() {
  held_.erase(0, space_before(held_));
  if (held_.empty()) return false;
  state_ = State::kStart;
  return true;
}

bool ends_in_reasoning(std::string_view prompt, const ReasoningTags& tags) {
  const size_t last = prompt.find_last_not_of(kSpace);
  if (tags.open.empty() || last == std::string_view::npos) return false;
  const std::string_view text = prompt.substr(0, last + 1);
  return text.size() >= tags.open.size() && text.substr(text.size() - tags.open.size()) == tags.open;
}

}  // namespace infer::chat
