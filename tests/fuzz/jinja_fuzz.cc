// Fuzzes the template interpreter: up to the first NUL byte the input is a template, the rest is text of a message.
// Any answer is fine within the limits. What came from the message must be marked so in the output, whatever the
// template did with it: the messages hold snowmen, and a template without one can get them from nowhere else.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "jinja/template.h"

namespace infer::jinja {
namespace {

constexpr std::string_view kSnowman = "\xE2\x98\x83";

Value message(Heap& heap, std::string_view role, std::string_view content) {
  DictBuilder dict(heap);
  dict.add("role", heap.string(role, Origin::kInput));
  dict.add("content", heap.string(content, Origin::kInput));
  return dict.finish();
}

Value variables(Heap& heap, std::string_view text) {
  std::string content = std::string(kSnowman) + " a" + std::string(kSnowman) + "b\n";
  content.append(text);
  ListBuilder messages(heap);
  messages.push(message(heap, "system", content));
  messages.push(message(heap, "user", kSnowman));
  messages.push(message(heap, "assistant", "<think>x</think>" + content));
  DictBuilder function(heap);
  function.add("name", heap.string(kSnowman, Origin::kInput));
  function.add("parameters", message(heap, kSnowman, content));
  ListBuilder tools(heap);
  tools.push(function.finish());
  DictBuilder dict(heap);
  dict.add("messages", messages.finish());
  dict.add("tools", tools.finish());
  dict.add("add_generation_prompt", Value::of(true));
  dict.add("n", Value::of(int64_t{3}));
  dict.add("x", Value::of(2.5));
  dict.add("s", heap.string(content, Origin::kInput));
  return dict.finish();
}

void check_runs(const Text& text) {
  size_t end = 0;
  for (size_t i = 0; i < text.runs().size(); ++i) {
    INFER_CHECK(text.runs()[i].end > end);
    INFER_CHECK(i == 0 || text.runs()[i].origin != text.runs()[i - 1].origin);
    end = text.runs()[i].end;
  }
  INFER_CHECK(end == text.size());
}

void fuzz(std::string_view source, std::string_view text) {
  const Result<Template> parsed = Template::parse(source);
  if (!parsed) {
    INFER_CHECK(parsed.error().message.find("line ") == 0);
    return;
  }
  Limits limits;
  limits.steps = 20'000;
  limits.value_bytes = 4 << 20;
  Heap heap(limits);
  const Result<Text> rendered = parsed->render(variables(heap, text), heap, {1'735'689'600'000});
  if (!rendered) {
    INFER_CHECK(rendered.error().message.find("line ") == 0);
    return;
  }
  check_runs(*rendered);
  INFER_CHECK(rendered->size() <= limits.value_bytes);
  const bool can_make_one = source.find(kSnowman.substr(0, 1)) != source.npos || source.find('\\') != source.npos;
  if (can_make_one) return;
  for (size_t at = rendered->bytes().find(kSnowman); at != std::string::npos;
       at = rendered->bytes().find(kSnowman, at + 1)) {
    INFER_CHECK(rendered->origin_at(at) == Origin::kInput);
  }
}

}  // namespace
}  // namespace infer::jinja

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t end = std::min(input.find('\0'), input.size());
  infer::jinja::fuzz(input.substr(0, end), input.substr(std::min(end + 1, input.size())));
  return 0;
}
