#include "app/evaluation_text.h"

#include <algorithm>
#include <utility>

#include "app/embedded_model.h"
#include "base/format.h"
#include "os/text_file.h"

namespace infer::app {

namespace {

constexpr int kWindow = 512;
constexpr size_t kBytesMax = size_t{16} << 20;

}  // namespace

Result<quality::EvaluationText> read_evaluation_text(const std::string& path, const tokenizer::Tokenizer& tokenizer,
                                                     int context) {
  quality::EvaluationText text{.name = path.empty() ? kEmbeddedTextName : path, .window = std::min(kWindow, context)};
  std::string content;
  if (!path.empty()) {
    auto read = os::read_text_file(path, kBytesMax);
    if (!read) return std::move(read).error();
    content = *std::move(read);
  }
  text.tokens = tokenizer.encode(path.empty() ? embedded_text() : std::string_view(content),
                                 {.add_special = true, .parse_special = false});
  if (tokenizer.adds_bos()) text.bos = tokenizer.bos();
  if (!path.empty() && text.windows() == 0) {
    return Error{ErrorCode::kInvalidArgument,
                 format("{} has {} tokens, an evaluation takes {} at least: give a longer text", path,
                        text.tokens.size(), text.window)};
  }
  return text;
}

}  // namespace infer::app
