#include "app/session_command.h"

#include <array>
#include <charconv>
#include <cmath>
#include <type_traits>
#include <vector>

#include "app/command_line.h"
#include "base/format.h"
#include "base/nearest_name.h"

namespace infer::app {
namespace {

struct VerbRow {
  const char* word;
  SessionVerb verb;
  const char* does;
};
constexpr std::array<VerbRow, 7> kVerbs{{
    {"/help", SessionVerb::kHelp, "this"},
    {"/bye", SessionVerb::kBye, "leave (Ctrl-D does too)"},
    {"/exit", SessionVerb::kBye, "leave"},
    {"/quit", SessionVerb::kBye, "leave"},
    {"/reset", SessionVerb::kReset, "forget the text so far"},
    {"/stats", SessionVerb::kStats, "speed and memory of the last answer"},
    {"/set", SessionVerb::kSet, "show the settings; /set NAME VALUE changes one"},
}};

template <class T>
bool is_finite(T value) {
  if constexpr (std::is_floating_point_v<T>) return std::isfinite(value);
  return true;
}

template <class T>
Status set_number(const std::string& name, const std::string& text, T* target) {
  T value{};
  const auto end = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = end.ec == std::errc() && end.ptr == text.data() + text.size();
  if (!whole || !is_finite(value))
    return Error{ErrorCode::kInvalidArgument, format("/set {}: '{}' is not a number", name, text)};
  *target = value;
  return {};
}

// Calls visit(name, field) for every setting.
template <class Settings, class Visit>
void for_each_setting(Settings& settings, Visit visit) {
  auto& sampling = settings.sampling;
  visit("temperature", sampling.temperature);
  visit("top_k", sampling.top_k);
  visit("top_p", sampling.top_p);
  visit("min_p", sampling.min_p);
  visit("repeat_penalty", sampling.repeat_penalty);
  visit("presence_penalty", sampling.presence_penalty);
  visit("frequency_penalty", sampling.frequency_penalty);
  visit("seed", sampling.seed);
  visit("tokens", settings.tokens_max);
}

std::vector<std::string> words_of(std::string_view line) {
  std::vector<std::string> words;
  for (size_t at = line.find_first_not_of(" \t"); at != std::string_view::npos;
       at = line.find_first_not_of(" \t", at)) {
    const size_t end = std::min(line.find_first_of(" \t", at), line.size());
    words.emplace_back(line.substr(at, end - at));
    at = end;
  }
  return words;
}

}  // namespace

bool is_session_command(std::string_view line) {
  return line.size() >= 2 && line[0] == '/' && ((line[1] >= 'a' && line[1] <= 'z') || line[1] == '?');
}

Result<SessionCommand> parse_session_command(std::string_view line) {
  const std::vector<std::string> words = words_of(line);
  const std::string word = words.empty() ? "" : words[0] == "/?" ? "/help" : words[0];
  std::vector<std::string> known;
  for (const VerbRow& row : kVerbs) {
    known.push_back(row.word);
    if (word != row.word) continue;
    const size_t words_max = row.verb == SessionVerb::kSet ? 3 : 1;
    if (words.size() > words_max || words.size() == 2) {
      return Error{ErrorCode::kInvalidArgument,
                   row.verb == SessionVerb::kSet ? "/set takes a name and a value" : format("{} takes no words", word)};
    }
    return SessionCommand{row.verb, words.size() > 1 ? words[1] : "", words.size() > 2 ? words[2] : ""};
  }
  const std::string nearest = nearest_name(word, known);
  return Error{ErrorCode::kInvalidArgument, format("unknown command {}{}; /help lists them", word,
                                                   nearest.empty() ? "" : format(" (did you mean {}?)", nearest))};
}

Status apply_setting(const std::string& name, const std::string& value, SessionSettings& settings) {
  SessionSettings changed = settings;
  std::vector<std::string> names;
  bool found = false;
  Status status;
  for_each_setting(changed, [&](const char* field_name, auto& field) {
    names.emplace_back(field_name);
    if (name != field_name) return;
    found = true;
    status = set_number(name, value, &field);
  });
  if (!found) {
    const std::string nearest = nearest_name(name, names);
    return Error{ErrorCode::kInvalidArgument, format("/set: unknown setting {}{}", name,
                                                     nearest.empty() ? "" : format(" (did you mean {}?)", nearest))};
  }
  INFER_TRY(std::move(status));
  INFER_TRY(changed.sampling.validate());
  if (changed.tokens_max < -1) {
    return Error{ErrorCode::kInvalidArgument, format("/set tokens: must be -1 or more, not {}", changed.tokens_max)};
  }
  settings = changed;
  return {};
}

std::string session_help() {
  std::string text;
  for (const VerbRow& row : kVerbs) text += format("  {:<8} {}\n", row.word, row.does);
  text += "  \"\"\"      begins and ends text of several lines\n";
  text +=
      "An empty line lets the model go on. Ctrl-C stops an answer, or clears the line. Arrow keys recall earlier "
      "lines.\n";
  return text;
}

std::string settings_text(const SessionSettings& settings) {
  std::string text;
  for_each_setting(settings, [&](const char* name, const auto& field) {
    // As the user wrote it: 0.8 and not the digits of the nearest float.
    constexpr bool kReal = std::is_floating_point_v<std::decay_t<decltype(field)>>;
    text += format(kReal ? "  {:<18} {:.6g}\n" : "  {:<18} {}\n", name, field);
  });
  return text;
}

}  // namespace infer::app
