#include "gguf/split_name.h"

#include "base/format.h"

namespace infer::gguf {

namespace {

constexpr size_t kDigits = 5;

std::optional<uint32_t> parse_digits(std::string_view text) {
  uint32_t value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return {};
    value = value * 10 + static_cast<uint32_t>(c - '0');
  }
  return value;
}

}  // namespace

std::string SplitName::path_of(uint32_t wanted_part) const {
  return format("{}-{:05}-of-{:05}.gguf", prefix, wanted_part, parts);
}

std::optional<SplitName> parse_split_name(std::string_view path) {
  constexpr std::string_view kOf = "-of-";
  constexpr std::string_view kExtension = ".gguf";
  constexpr size_t kTail = 1 + kDigits + kOf.size() + kDigits + kExtension.size();
  if (path.size() <= kTail) return {};
  const std::string_view tail = path.substr(path.size() - kTail);
  if (tail[0] != '-' || tail.substr(1 + kDigits, kOf.size()) != kOf || !tail.ends_with(kExtension)) return {};
  const std::optional<uint32_t> part = parse_digits(tail.substr(1, kDigits));
  const std::optional<uint32_t> parts = parse_digits(tail.substr(1 + kDigits + kOf.size(), kDigits));
  if (!part || !parts || *part < 1 || *part > *parts) return {};
  return SplitName{std::string(path.substr(0, path.size() - kTail)), *part, *parts};
}

}  // namespace infer::gguf
