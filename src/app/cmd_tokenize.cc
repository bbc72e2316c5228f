#include "app/commands.h"
#include "app/loading.h"
#include "base/format.h"

namespace infer::app {
namespace {

// A piece as one line: quotes, backslashes and control characters are escaped; bytes that are no whole character too.
std::string quoted(std::string_view piece) {
  std::string json = api::Json(piece).dump();
  if (json.find("\xEF\xBF\xBD") == std::string::npos || piece.find("\xEF\xBF\xBD") != std::string_view::npos)
    return json;
  std::string bytes = "<";
  for (const char c : piece) bytes += format("{}{:02X}", bytes.size() > 1 ? " " : "", static_cast<unsigned char>(c));
  return bytes + ">";
}

api::Json as_json(const std::vector<TokenId>& ids, const tokenizer::Tokenizer& tokenizer, const std::string& name) {
  api::Json tokens = api::Json::array();
  for (const TokenId id : ids) {
    tokens.push(api::Json::object().set("id", id).set("piece", tokenizer.piece(id, true)));
  }
  api::Json json = api::Json::object();
  json.set("model", name)
      .set("count", ids.size())
      .set("ids", api::Json::array_of(ids))
      .set("tokens", std::move(tokens));
  return json;
}

}  // namespace

Status tokenize_command(const TokenizeOptions& options, Services& services) {
  INFER_ASSIGN(const auto file, open_model_file(options.model.path));
  INFER_ASSIGN(const auto tokenizer, load_vocabulary(*file, services));
  INFER_ASSIGN(const std::string text, read_text(options.text, true));
  const std::vector<TokenId> ids =
      tokenizer->encode(text, {.add_special = options.add_special, .parse_special = options.parse_special});
  if (options.json) return services.out().write_json(as_json(ids, *tokenizer, model_display_name(options.model.path)));
  std::string lines;
  for (const TokenId id : ids) {
    if (options.ids_only) {
      lines += format("{}{}", lines.empty() ? "" : " ", id);
    } else {
      lines += format("{:6d}  {}\n", id, quoted(tokenizer->piece(id, true)));
    }
  }
  if (options.ids_only) lines += "\n";
  return services.out().write(lines);
}

}  // namespace infer::app
