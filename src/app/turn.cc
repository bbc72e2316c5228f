#include "app/turn.h"

#include "app/text_width.h"
#include "base/bytes.h"
#include "base/format.h"

namespace infer::app {

Result<engine::GenerationResult> run_turn(engine::Conversation& conversation, std::span<const TokenId> prompt,
                                          const engine::GenerationOptions& options, const CallContext& call,
                                          bool stream, Services& services) {
  ProgressBar bar = services.progress("reading the prompt", ProgressUnit::kTokens);
  Status written;
  bool at_line_start = true;
  engine::GenerationObserver observer;
  observer.on_prefill = [&](int done, int total) {
    bar.update(static_cast<uint64_t>(done), static_cast<uint64_t>(total));
  };
  observer.on_text = [&](std::string_view text) {
    bar.finish();
    if (!stream || !written || text.empty()) return;
    at_line_start = text.back() == '\n';
    written = services.out().write(services.output_is_terminal() ? printable(text) : std::string(text));
    if (!written) services.interrupt().cancel(CancelReason::kClientGone);
  };
  auto result = conversation.generate(prompt, options, call, observer);
  bar.finish();
  if (!written) return std::move(written).error();
  if (!result) return result;
  if (stream && (!at_line_start || result->text.empty())) INFER_TRY(services.out().write("\n"));
  return result;
}

namespace {

// How a KV cache with lower levels is made up; "" where all pages have 16 bits.
std::string levels_text(const engine::GenerationResult& result) {
  const auto& [full, bytes, nibbles, evicted] = result.kv_pages;
  if (bytes + nibbles + evicted == 0) return "";
  const double share = 100.0 * static_cast<double>(result.kv_bytes) / static_cast<double>(result.kv_bytes_f16);
  std::string text = format(" ({:.0f} %: {} pages at 16, {} at 8, {} at 4 bits", share, full, bytes, nibbles);
  if (evicted > 0) text += format(", {} out", evicted);
  return text + ")";
}

}  // namespace

std::string summary_line(const engine::GenerationResult& result) {
  std::string text = format("{} tokens", result.generated_tokens());
  if (result.finish_reason == engine::FinishReason::kLength) text += " (length reached)";
  if (result.finish_reason == engine::FinishReason::kDeadline) text += " (deadline)";
  if (result.finish_reason == engine::FinishReason::kCancelled) text += " (stopped)";
  if (result.decode_tokens_per_second() > 0) text += format(", {:.1f} tokens/s", result.decode_tokens_per_second());
  if (result.generated_tokens() > 0) text += format(", first after {:.0f} ms", result.time_to_first_token.ms());
  text += format(", KV {}{}, prompt of {}", format_bytes(result.kv_bytes), levels_text(result), result.prompt_tokens);
  if (result.prefill_tokens_per_second() > 0) text += format(" at {:.0f}/s", result.prefill_tokens_per_second());
  return text;
}

}  // namespace infer::app
