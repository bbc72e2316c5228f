#include "app/progress.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "app/text_width.h"
#include "base/bytes.h"
#include "base/format.h"

namespace infer::app {
namespace {

constexpr Duration kFirstDraw = Duration::from_ms(250);
constexpr Duration kDrawInterval = Duration::from_ms(100);
constexpr int kBarColumnsMax = 30;
constexpr int kBarColumnsMin = 6;
constexpr std::string_view kClearLine = "\r\x1b[K";

std::string rate_text(double per_second, ProgressUnit unit) {
  switch (unit) {
    case ProgressUnit::kBytes: return format_bytes(static_cast<uint64_t>(std::min(per_second, 1e18))) + "/s";
    case ProgressUnit::kTokens: return format(per_second < 100 ? "{:.1f} tokens/s" : "{:.0f} tokens/s", per_second);
    case ProgressUnit::kChunks: return format("{:.1f} chunks/s", per_second);
    case ProgressUnit::kTasks: return format("{:.1f} tasks/s", per_second);
  }
  return "";
}

std::string remaining_text(double seconds) {
  constexpr double kSecondsMax = 1e6;  // Eleven days: more is not worth a number.
  if (!(seconds <= kSecondsMax)) return "a long time left";
  const auto whole = static_cast<int64_t>(std::ceil(seconds));
  if (whole < 100) return format("{} s left", whole);
  if (whole < 100 * 60) return format("{} min left", (whole + 59) / 60);
  return format("{} h left", (whole + 3599) / 3600);
}

// `columns` wide, filled to `share` in steps of an eighth of a column.
std::string bar_text(double share, int columns) {
  constexpr const char* kEighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  const int eighths = static_cast<int>(share * columns * 8);
  std::string bar = "[";
  for (int i = 0; i < eighths / 8; ++i) bar += "█";
  bar += kEighths[eighths % 8];
  const int used = eighths / 8 + (eighths % 8 > 0 ? 1 : 0);
  bar.append(static_cast<size_t>(std::max(0, columns - used)), ' ');
  return bar + "]";
}

}  // namespace

std::string render_progress(const Progress& progress, int columns) {
  const double seconds = progress.elapsed.seconds();
  const double rate = seconds > 0 ? static_cast<double>(progress.done) / seconds : 0;
  const std::string rate_part = rate > 0 ? "  " + rate_text(rate, progress.unit) : "";
  const std::string text(progress.what);
  if (progress.total == 0) return fit_width(text + rate_part, columns);

  const uint64_t done = std::min(progress.done, progress.total);
  const double share = static_cast<double>(done) / static_cast<double>(progress.total);
  const std::string percent = format("  {:3d} %", static_cast<int>(share * 100));
  std::string tail = rate_part;
  if (rate > 0) tail += "  " + remaining_text(static_cast<double>(progress.total - done) / rate);

  const int without_bar = display_width(text) + display_width(percent) + display_width(tail);
  const int bar = std::min(kBarColumnsMax, columns - without_bar - 4);  // Two blanks and two brackets.
  if (bar >= kBarColumnsMin) return text + "  " + bar_text(share, bar) + percent + tail;
  if (without_bar <= columns) return text + percent + tail;
  const int room = columns - display_width(percent);
  return room > 0 ? fit_width(text, room) + percent : fit_width(text, columns);
}

ProgressBar::ProgressBar(const Clock& clock, Write write, std::function<int()> columns, std::string what,
                         ProgressUnit unit)
    : clock_(clock),
      write_(std::move(write)),
      columns_(std::move(columns)),
      what_(std::move(what)),
      unit_(unit),
      start_(clock.now()),
      next_draw_(start_ + kFirstDraw) {}

void ProgressBar::update(uint64_t done, uint64_t total) {
  if (!write_) return;
  const Instant now = clock_.now();
  if (now < next_draw_) return;
  next_draw_ = now + kDrawInterval;
  const Progress progress{.what = what_, .done = done, .total = total, .elapsed = now - start_, .unit = unit_};
  // One column stays free: a character in the last one makes some terminals wrap.
  write_(std::string(kClearLine) + render_progress(progress, std::max(0, columns_() - 1)));
  drawn_ = true;
}

void ProgressBar::finish() {
  if (drawn_) write_(kClearLine);
  drawn_ = false;
  write_ = nullptr;
}

}  // namespace infer::app
