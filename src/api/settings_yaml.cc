#include "api/settings_yaml.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>
#include <utility>
#include <vector>

#include "base/format.h"
#include "base/quoted_text.h"
#include "control/settings.h"

namespace infer::api {

namespace {

constexpr size_t kEntriesMax = 1000;
constexpr int kDepthMax = 16;
constexpr std::string_view kRoot = "infer_os";

Error corrupt(std::string message) { return Error{ErrorCode::kCorrupt, std::move(message)}; }
Error at_line(int line, std::string_view message) { return corrupt(format("line {}: {}", line, message)); }
int line_of(const YAML::Node& node) { return node.Mark().line + 1; }

template <class T>
std::optional<T> whole_number(std::string_view text) {
  T number{};
  const auto end = std::from_chars(text.data(), text.data() + text.size(), number);
  if (end.ec != std::errc() || end.ptr != text.data() + text.size()) return std::nullopt;
  return number;
}

// Of a scalar, by YAML 1.2's core schema; what is quoted is text, whatever it looks like.
control::DocumentValue scalar_value(const YAML::Node& node) {
  const std::string& text = node.Scalar();
  if (node.Tag() == "!") return text;
  if (text == "true" || text == "True" || text == "TRUE") return true;
  if (text == "false" || text == "False" || text == "FALSE") return false;
  const std::string_view digits = text.starts_with('+') ? std::string_view(text).substr(1) : std::string_view(text);
  if (const auto whole = whole_number<int64_t>(digits)) return *whole;
  if (const auto real = whole_number<double>(digits); real && std::isfinite(*real)) return *real;
  return text;
}

// The members of a map, each one entry or, for a map within, those of it.
class EntryReader {
 public:
  Status read(const YAML::Node& map, const std::string& section, int depth) {
    if (depth > kDepthMax) return at_line(line_of(map), format("maps within maps, more than {} deep", kDepthMax));
    for (const auto& member : map) {
      if (!member.first.IsScalar()) return at_line(line_of(member.first), "a key must be a plain word");
      const std::string key = control::member_key(section, member.first.Scalar());
      const int line = line_of(member.first);
      const YAML::Node& value = member.second;
      if (value.IsMap() && value.size() > 0) {
        INFER_TRY(read(value, key, depth + 1));
        continue;
      }
      if (!keys_.insert(key).second) return at_line(line, format("{} is given twice", quoted(key)));
      if (entries_.size() >= kEntriesMax) return at_line(line, format("more than {} settings", kEntriesMax));
      entries_.push_back({key, value_of(value), line});
    }
    return {};
  }
  const std::vector<control::DocumentEntry>& entries() const { return entries_; }

 private:
  static control::DocumentValue value_of(const YAML::Node& node) {
    if (node.IsScalar()) return scalar_value(node);
    if (node.IsSequence()) return control::ListValue{};
    if (node.IsMap()) return control::SectionValue{};
    return control::NullValue{};
  }

  std::vector<control::DocumentEntry> entries_;
  std::set<std::string> keys_;
};

Status apply_root(const YAML::Node& document, control::Config& config) {
  if (document.IsNull()) return {};  // Nothing but comments.
  if (!document.IsMap()) return at_line(line_of(document), format("a map with the key {} was expected", kRoot));
  EntryReader reader;
  for (const auto& member : document) {
    const int line = line_of(member.first);
    if (!member.first.IsScalar() || member.first.Scalar() != kRoot) {
      const std::string key = member.first.IsScalar() ? quoted(member.first.Scalar()) : "that is no word";
      return at_line(line, format("unknown key {}; everything lies below {}", key, kRoot));
    }
    if (member.second.IsNull()) continue;
    if (!member.second.IsMap()) return at_line(line, format("{} must be a map", kRoot));
    INFER_TRY(reader.read(member.second, "", 1));
  }
  const Status applied = control::apply_document(reader.entries(), control::SettingScope::kConfig, config);
  return applied ? Status() : Status(corrupt(applied.error().message));
}

}  // namespace

Status apply_yaml(std::string_view text, control::Config& config) {
  try {
    const std::vector<YAML::Node> documents = YAML::LoadAll(std::string(text));
    if (documents.size() > 1) return corrupt(format("{} documents in one file, one was expected", documents.size()));
    return documents.empty() ? Status() : apply_root(documents[0], config);
  } catch (const YAML::Exception& problem) {
    return at_line(problem.mark.line + 1, problem.msg);
  } catch (const std::exception& problem) {  // What yaml-cpp lets through of the standard library.
    return corrupt(format("cannot be read as YAML: {}", std::string_view(problem.what())));
  }
}

}  // namespace infer::api
