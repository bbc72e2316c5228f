#include <algorithm>

#include "app/commands.h"
#include "app/loading.h"
#include "base/bytes.h"
#include "base/format.h"

namespace infer::app {
namespace {

using tokenizer::Tokenizer;

// A piece as one line: quotes, backslashes and control characters are escaped; bytes that are no whole character too.
std::string quoted(std::string_view piece) {
  std::string json = api::Json(piece).dump();
  if (json.find("\xEF\xBF\xBD") == std::string::npos || piece.find("\xEF\xBF\xBD") != std::string_view::npos)
    return json;
  std::string bytes = "<";
  for (const char c : piece) bytes += format("{}{:02X}", bytes.size() > 1 ? " " : "", static_cast<unsigned char>(c));
  return bytes + ">";
}

tokenizer::EncodeOptions encode_options(const TokenizeOptions& options) {
  return {.add_special = options.add_special, .parse_special = options.parse_special};
}

std::string id_line(const std::vector<TokenId>& ids) {
  std::string line;
  for (const TokenId id : ids) line += format("{}{}", line.empty() ? "" : " ", id);
  return line + "\n";
}

Status print_one(const std::string& text, const Tokenizer& tokenizer, const TokenizeOptions& options,
                 Services& services) {
  const std::vector<TokenId> ids = tokenizer.encode(text, encode_options(options));
  if (options.json) {
    api::Json tokens = api::Json::array();
    for (const TokenId id : ids) {
      tokens.push(api::Json::object().set("id", id).set("piece", tokenizer.piece(id, true)));
    }
    api::Json json = api::Json::object();
    json.set("model", model_display_name(options.model.path))
        .set("count", ids.size())
        .set("ids", api::Json::array_of(ids))
        .set("tokens", std::move(tokens));
    return services.out().write_json(json);
  }
  if (options.ids_only) return services.out().write(id_line(ids));
  std::string lines;
  for (const TokenId id : ids) lines += format("{:6d}  {}\n", id, quoted(tokenizer.piece(id, true)));
  return services.out().write(lines);
}

// The next text of the input, which it leaves; `number` counts from 1.
Result<std::string> take_text(std::string_view& input, TextCut cut, uint64_t number) {
  const size_t end = input.find(cut == TextCut::kNul ? '\0' : '\n');
  const std::string_view part = input.substr(0, end);
  input.remove_prefix(end == std::string_view::npos ? input.size() : end + 1);
  if (cut != TextCut::kJson) return std::string(part);
  auto json = api::Json::parse(part);
  if (!json) return Error{ErrorCode::kInvalidArgument, format("line {}: {}", number, json.error().message)};
  const std::optional<std::string_view> text = json->as_string();
  if (text) return std::string(*text);
  return Error{ErrorCode::kInvalidArgument,
               format("line {}: is no JSON string; write each text like \"a text\"", number)};
}

// One line, or with --json one array, for each text; printed in parts of about a megabyte.
Status print_each(std::string_view input, const Tokenizer& tokenizer, const TokenizeOptions& options,
                  Services& services) {
  constexpr size_t kPartBytes = size_t{1} << 20;
  api::Json texts = api::Json::array();
  std::string lines;
  for (uint64_t number = 1; !input.empty(); ++number) {
    auto text = take_text(input, options.each, number);
    if (!text) return std::move(text).error().with_context(text_origin(options.text));
    const std::vector<TokenId> ids = tokenizer.encode(*text, encode_options(options));
    if (options.json) {
      texts.push(api::Json::object().set("count", ids.size()).set("ids", api::Json::array_of(ids)));
      continue;
    }
    lines += id_line(ids);
    if (lines.size() < kPartBytes) continue;
    INFER_TRY(services.out().write(lines));
    if (services.out().reader_gone()) return {};
    lines.clear();
  }
  if (!options.json) return services.out().write(lines);
  api::Json json = api::Json::object();
  json.set("model", model_display_name(options.model.path)).set("texts", std::move(texts));
  return services.out().write_json(json);
}

// Rounds over the whole text, at least five and for a second; the median counts.
Status print_speed(std::string_view text, const Tokenizer& tokenizer, const TokenizeOptions& options,
                   Services& services) {
  constexpr size_t kRoundsMin = 5;
  constexpr size_t kRoundsMax = 1000;
  if (text.empty())
    return Error{ErrorCode::kInvalidArgument, "--bench: the text is empty; give one of a megabyte or so"};
  const CallContext call = services.call(options.model.deadline);
  std::vector<double> seconds;
  double total = 0;
  size_t tokens = 0;
  while (seconds.size() < kRoundsMin || (total < 1 && seconds.size() < kRoundsMax)) {
    if (call.should_stop() && !seconds.empty()) break;
    const Instant start = services.clock().now();
    tokens = tokenizer.encode(text, encode_options(options)).size();
    seconds.push_back((services.clock().now() - start).seconds());
    total += seconds.back();
  }
  std::nth_element(seconds.begin(), seconds.begin() + static_cast<std::ptrdiff_t>(seconds.size() / 2), seconds.end());
  const double median = std::max(seconds[seconds.size() / 2], 1e-9);
  const double bytes_per_second = static_cast<double>(text.size()) / median;
  const double tokens_per_second = static_cast<double>(tokens) / median;
  if (!options.json) {
    return services.out().write(format("{:.1f} MB/s, {:.2f} million tokens/s: {} in {} tokens, median of {} rounds\n",
                                       bytes_per_second * 1e-6, tokens_per_second * 1e-6, format_bytes(text.size()),
                                       tokens, seconds.size()));
  }
  api::Json json = api::Json::object();
  json.set("model", model_display_name(options.model.path))
      .set("bytes", text.size())
      .set("tokens", tokens)
      .set("rounds", seconds.size())
      .set("bytes_per_second", bytes_per_second)
      .set("tokens_per_second", tokens_per_second);
  return services.out().write_json(json);
}

}  // namespace

Status tokenize_command(const TokenizeOptions& options, Services& services) {
  INFER_ASSIGN(const auto file, open_model_file(options.model.path));
  INFER_ASSIGN(const auto tokenizer, load_vocabulary(*file, services));
  INFER_ASSIGN(const std::string text,
               options.any_bytes ? read_bytes(options.text, true) : read_text(options.text, true));
  if (options.bench) return print_speed(text, *tokenizer, options, services);
  if (options.each != TextCut::kNone) return print_each(text, *tokenizer, options, services);
  return print_one(text, *tokenizer, options, services);
}

}  // namespace infer::app
