#include "app/agent_token.h"

#include <algorithm>
#include <optional>
#include <string_view>

#include "app/state_folder.h"
#include "base/format.h"
#include "os/entropy.h"
#include "os/folder.h"
#include "os/text_file.h"

namespace infer::app {
namespace {

constexpr size_t kBytesLeast = 16;  // Fewer could be guessed.
constexpr size_t kBytesMost = 256;

bool is_token_text(std::string_view text) {
  return text.size() >= kBytesLeast && text.size() <= kBytesMost &&
         std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 127; });
}

Result<std::string> make_token() {
  INFER_ASSIGN(const auto words, os::random_words());
  return format("{:016x}{:016x}{:016x}{:016x}", words[0], words[1], words[2], words[3]);
}

std::optional<std::string> find_token(const std::string& path) {
  const Result<std::string> text = os::read_text_file(path, kBytesMost + 2);
  if (!text) return std::nullopt;
  const std::string token = text->substr(0, text->find_first_of("\r\n"));
  return is_token_text(token) ? std::optional(token) : std::nullopt;
}

}  // namespace

Result<AgentToken> read_agent_token(uint16_t port, const std::string& given) {
  if (!given.empty()) {
    if (is_token_text(given)) return AgentToken{.text = given, .path = {}};
    return Error{
        ErrorCode::kInvalidArgument,
        format(
            "the token of INFEROS_AGENT_TOKEN or server.token must have {} to {} visible ASCII characters, but has {}",
            kBytesLeast, kBytesMost, given.size())};
  }
  AgentToken token;
  const std::string folder = state_folder();
  if (!folder.empty()) token.path = os::path_in(folder, format("token-{}", port));
  if (const auto kept = token.path.empty() ? std::nullopt : find_token(token.path)) {
    token.text = *kept;
    return token;
  }
  INFER_ASSIGN(token.text, make_token());
  token.is_new = true;
  const bool kept =
      !token.path.empty() && os::write_text_file(token.path, token.text + "\n", os::FileAccess::kOwnerOnly);
  if (!kept) token.path.clear();
  return token;
}

}  // namespace infer::app
