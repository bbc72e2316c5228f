#include "batch/task.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <unordered_map>
#include <utility>

#include "api/json.h"
#include "base/format.h"

namespace infer::batch {

namespace {

using api::Json;

constexpr double kSecondsMax = 1e9;

Error wrong(std::string_view key, std::string_view expected) {
  return Error{ErrorCode::kCorrupt, format("\"{}\" must be {}", key, expected)};
}

Result<std::string> text_of(std::string_view key, const Json& value) {
  if (const auto text = value.as_string()) return std::string(*text);
  return wrong(key, "a string");
}

Status set_texts(std::string_view key, const Json& value, std::vector<std::string>& target) {
  target.clear();
  if (!value.is_array()) {
    INFER_ASSIGN(std::string text, text_of(key, value));
    target.push_back(std::move(text));
    return {};
  }
  for (const Json& element : value.elements()) {
    INFER_ASSIGN(std::string text, text_of(key, element));
    target.push_back(std::move(text));
  }
  return {};
}

template <class T>
Status set_whole(std::string_view key, const Json& value, int64_t least, T& target) {
  const auto number = value.as_int();
  constexpr int64_t kMost = std::numeric_limits<T>::max() < std::numeric_limits<int64_t>::max()
                                ? static_cast<int64_t>(std::numeric_limits<T>::max())
                                : std::numeric_limits<int64_t>::max();
  if (!number || *number < least || *number > kMost) {
    return wrong(key, format("a whole number from {} to {}", least, kMost));
  }
  target = static_cast<T>(*number);
  return {};
}

Status set_float(std::string_view key, const Json& value, float& target) {
  const auto number = value.as_double();
  if (!number || !std::isfinite(*number)) return wrong(key, "a number");
  target = static_cast<float>(*number);
  return {};
}

Status set_deadline(std::string_view key, const Json& value, std::optional<Duration>& target) {
  const auto seconds = value.as_double();
  if (!seconds || !(*seconds > 0) || *seconds > kSecondsMax) {
    return wrong(key, format("a number of seconds above 0 and up to {:g}", kSecondsMax));
  }
  target = Duration::from_seconds(*seconds);
  return {};
}

Status set_priority(std::string_view key, const Json& value, engine::Priority& target) {
  constexpr std::array<std::string_view, engine::kPriorities> kNames{"high", "normal", "low"};
  for (size_t i = 0; i < kNames.size(); ++i) {
    if (value.as_string() != kNames[i]) continue;
    target = static_cast<engine::Priority>(i);
    return {};
  }
  return wrong(key, "\"high\", \"normal\" or \"low\"");
}

Status set_id(const Json& value, std::string& target) {
  if (const auto number = value.as_int()) {
    target = format("{}", *number);
    return {};
  }
  INFER_ASSIGN(target, text_of("id", value));
  return target.empty() ? Status(wrong("id", "a string that is not empty, or a whole number")) : Status();
}

Status set_member(Task& task, std::string_view key, const Json& value) {
  if (key == "id") return set_id(value, task.id);
  if (key == "prompt" || key == "turns") {
    if (!task.turns.empty()) return Error{ErrorCode::kCorrupt, "\"prompt\" and \"turns\" exclude each other"};
    if (key == "turns" && !value.is_array()) return wrong(key, "a list of strings");
    if (key == "prompt" && value.is_array()) return wrong(key, "a string");
    return set_texts(key, value, task.turns);
  }
  if (key == "max_tokens") return set_whole(key, value, 0, task.options.tokens_max);
  if (key == "temperature") return set_float(key, value, task.sampling.temperature);
  if (key == "top_k") return set_whole(key, value, 0, task.sampling.top_k);
  if (key == "top_p") return set_float(key, value, task.sampling.top_p);
  if (key == "min_p") return set_float(key, value, task.sampling.min_p);
  if (key == "seed") return set_whole(key, value, 0, task.sampling.seed);
  if (key == "stop") return set_texts(key, value, task.options.stops);
  if (key == "deadline") return set_deadline(key, value, task.deadline);
  if (key == "priority") return set_priority(key, value, task.priority);
  return Error{ErrorCode::kCorrupt,
               format("the key \"{}\" is unknown; known are id, prompt, turns, max_tokens, temperature, top_k, top_p, "
                      "min_p, seed, stop, deadline and priority",
                      key)};
}

Result<Task> parse_task(std::string_view line, const Task& defaults) {
  INFER_ASSIGN(const Json json, Json::parse(line));
  if (!json.is_object()) return Error{ErrorCode::kCorrupt, "a task must be a JSON object"};
  Task task = defaults;
  task.turns.clear();
  for (const auto& [key, value] : json.members()) INFER_TRY(set_member(task, key, value));
  if (task.turns.empty()) return Error{ErrorCode::kCorrupt, "\"prompt\" or \"turns\" is missing"};
  if (task.turns.size() > kTurnsMax) {
    return Error{ErrorCode::kCorrupt, format("{} turns are too many; {} are allowed", task.turns.size(), kTurnsMax)};
  }
  if (Status sampling = task.sampling.validate(); !sampling) {
    return Error{ErrorCode::kCorrupt, sampling.error().message};
  }
  return task;
}

// Calls body(line, number) for each line with something in it; the error names the line.
template <class Body>
Status for_each_line(std::string_view text, const Body& body) {
  for (int number = 1; !text.empty(); ++number) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    if (Status status = body(line, number); !status) {
      return std::move(status).error().with_context(format("line {}", number));
    }
  }
  return {};
}

}  // namespace

Result<std::vector<Task>> parse_tasks(std::string_view text, const Task& defaults) {
  std::vector<Task> tasks;
  std::unordered_map<std::string, int> lines;
  INFER_TRY(for_each_line(text, [&](std::string_view line, int number) -> Status {
    INFER_ASSIGN(Task task, parse_task(line, defaults));
    task.line = number;
    if (task.id.empty()) task.id = format("{}", number);
    const auto [place, is_new] = lines.emplace(task.id, number);
    if (!is_new) {
      return Error{ErrorCode::kCorrupt, format("the id \"{}\" is that of line {} too", task.id, place->second)};
    }
    tasks.push_back(std::move(task));
    return {};
  }));
  return tasks;
}

Result<std::vector<std::string>> parse_result_ids(std::string_view text) {
  std::vector<std::string> ids;
  INFER_TRY(for_each_line(text, [&](std::string_view line, int) -> Status {
    INFER_ASSIGN(const Json json, Json::parse(line));
    const Json* id = json.find("id");
    if (id == nullptr || !id->as_string()) {
      return Error{ErrorCode::kCorrupt, "this is not the result of a task: it has no \"id\""};
    }
    ids.emplace_back(*id->as_string());
    return {};
  }));
  return ids;
}

}  // namespace infer::batch
