#define PCRE2_CODE_UNIT_WIDTH 8
#include "tokenizer/pretokenizer.h"

#include <pcre2.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/format.h"
#include "base/utf8.h"

namespace infer::tokenizer {
namespace {

// Far above what the shipped expressions need on megabytes of one character; far below an endless search.
constexpr uint32_t kMatchLimit = 20'000'000;
constexpr uint32_t kDepthLimit = 100'000;
constexpr uint32_t kHeapLimitKib = 64 * 1024;

struct FreeCode {
  void operator()(pcre2_code* code) const { pcre2_code_free(code); }
};
struct FreeMatchData {
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
};
struct FreeMatchContext {
  void operator()(pcre2_match_context* context) const { pcre2_match_context_free(context); }
};

struct Expression {
  std::unique_ptr<pcre2_code, FreeCode> code;
  bool has_machine_code = false;
};

struct Range {
  size_t begin;
  size_t end;
};

// What Unicode 15.0 and 15.1 added to the classes that expressions name. PCRE2 10.42 knows Unicode 14; models' own
// tokenizers are newer. Where the library knows them too they change nothing.
struct AddedCharacters {
  std::string_view name;
  std::string_view ranges;
};
constexpr AddedCharacters kAdded[] = {
    {"\\p{L}",
     R"(\x{1123F}-\x{11240}\x{11F02}\x{11F04}-\x{11F10}\x{11F12}-\x{11F33}\x{1342F}\x{13441}-\x{13446}\x{1B132}\x{1B155})"
     R"(\x{1DF25}-\x{1DF2A}\x{1E030}-\x{1E06D}\x{1E4D0}-\x{1E4EB}\x{2B739}\x{2EBF0}-\x{2EE5D}\x{31350}-\x{323AF})"},
    {"\\p{Lo}",
     R"(\x{1123F}-\x{11240}\x{11F02}\x{11F04}-\x{11F10}\x{11F12}-\x{11F33}\x{2EBF0}-\x{2EE5D}\x{31350}-\x{323AF})"},
    {"\\p{M}",
     R"(\x{CF3}\x{ECE}\x{10EFD}-\x{10EFF}\x{11241}\x{11F00}-\x{11F01}\x{11F03}\x{11F34}-\x{11F3A}\x{11F3E}-\x{11F42})"
     R"(\x{13440}\x{13447}-\x{13455}\x{1E08F}\x{1E4EC}-\x{1E4EF})"},
    {"\\p{N}", R"(\x{11F50}-\x{11F59}\x{1D2C0}-\x{1D2D3}\x{1E4F0}-\x{1E4F9})"},
    {"\\p{P}", R"(\x{11B00}-\x{11B09}\x{11F43}-\x{11F4F})"},
};

// The expression with each named class completed.
std::string with_added_characters(std::string_view pattern) {
  std::string out;
  bool in_class = false;
  while (!pattern.empty()) {
    const auto* const added = std::find_if(std::begin(kAdded), std::end(kAdded), [&](const AddedCharacters& entry) {
      return pattern.substr(0, entry.name.size()) == entry.name;
    });
    if (added != std::end(kAdded)) {
      out.append(in_class ? "" : "[").append(added->name).append(added->ranges).append(in_class ? "" : "]");
      pattern.remove_prefix(added->name.size());
      continue;
    }
    if (pattern[0] == '[') in_class = true;
    if (pattern[0] == ']') in_class = false;
    const size_t length = pattern[0] == '\\' ? std::min<size_t>(2, pattern.size()) : 1;
    out.append(pattern.substr(0, length));
    pattern.remove_prefix(length);
  }
  return out;
}

Result<Expression> compile_expression(std::string_view named) {
  const std::string pattern = with_added_characters(named);
  int error = 0;
  PCRE2_SIZE error_offset = 0;
  Expression expression;
  expression.code.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                                      PCRE2_UTF | PCRE2_UCP | PCRE2_DOLLAR_ENDONLY | PCRE2_NEVER_BACKSLASH_C, &error,
                                      &error_offset, nullptr));
  if (expression.code == nullptr) {
    std::array<PCRE2_UCHAR, 128> text{};
    pcre2_get_error_message(error, text.data(), text.size());
    return Error{ErrorCode::kInvalidArgument, format("pre-tokenizer expression {}: {} at offset {}", pattern,
                                                     reinterpret_cast<const char*>(text.data()), error_offset)};
  }
  // Where the system forbids generated code the interpreter does the same, slower.
  expression.has_machine_code = pcre2_jit_compile(expression.code.get(), PCRE2_JIT_COMPLETE) == 0;
  return expression;
}

}  // namespace

struct Pretokenizer::Impl {
  std::vector<Expression> expressions;
  std::unique_ptr<pcre2_match_context, FreeMatchContext> limits;
};

struct Pretokenizer::Session::State {
  std::unique_ptr<pcre2_match_data, FreeMatchData> match;

  // The first match of `expression` in `text` at or after `from`; nullopt when there is none or a limit was reached.
  std::optional<Range> find(const Expression& expression, pcre2_match_context* limits, std::string_view text,
                            size_t from) const {
    const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
    int count = PCRE2_ERROR_JIT_STACKLIMIT;
    if (expression.has_machine_code) {
      count = pcre2_jit_match(expression.code.get(), subject, text.size(), from, 0, match.get(), limits);
    }
    if (count == PCRE2_ERROR_JIT_STACKLIMIT) {
      count = pcre2_match(expression.code.get(), subject, text.size(), from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                          match.get(), limits);
    }
    if (count < 0) return std::nullopt;
    const PCRE2_SIZE* range = pcre2_get_ovector_pointer(match.get());
    return Range{range[0], range[1]};
  }
};

Pretokenizer::Session::Session(const Pretokenizer&) : state_(std::make_unique<State>()) {
  state_->match.reset(pcre2_match_data_create(1, nullptr));  // Only the whole match is of interest.
  INFER_CHECK(state_->match != nullptr);
}
Pretokenizer::Session::~Session() = default;

Pretokenizer::Pretokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Pretokenizer::~Pretokenizer() = default;

Result<std::unique_ptr<Pretokenizer>> Pretokenizer::compile(std::span<const std::string_view> patterns) {
  auto impl = std::make_unique<Impl>();
  for (const std::string_view pattern : patterns) {
    INFER_ASSIGN(Expression expression, compile_expression(pattern));
    impl->expressions.push_back(std::move(expression));
  }
  impl->limits.reset(pcre2_match_context_create(nullptr));
  INFER_CHECK(impl->limits != nullptr);
  pcre2_set_match_limit(impl->limits.get(), kMatchLimit);
  pcre2_set_depth_limit(impl->limits.get(), kDepthLimit);
  pcre2_set_heap_limit(impl->limits.get(), kHeapLimitKib);
  return std::unique_ptr<Pretokenizer>(new Pretokenizer(std::move(impl)));
}

void Pretokenizer::split(std::string_view text, Session& session, WordSink& sink) const {
  while (!text.empty()) {
    const size_t valid = valid_utf8_prefix(text);
    if (valid > 0) split_valid(0, text.substr(0, valid), session, sink);
    text.remove_prefix(valid);
    size_t invalid = 0;
    while (invalid < text.size()) {
      const Utf8Char next = first_utf8_char(text.substr(invalid));
      if (next.state == Utf8State::kWhole) break;
      invalid += next.length;
    }
    if (invalid > 0) sink.on_word(text.substr(0, invalid));
    text.remove_prefix(invalid);
  }
}

void Pretokenizer::split_valid(size_t stage, std::string_view text, Session& session, WordSink& sink) const {
  if (stage == impl_->expressions.size()) {
    sink.on_word(text);
    return;
  }
  const Expression& expression = impl_->expressions[stage];
  size_t done = 0;  // Everything before it has gone to the next stage.
  size_t from = 0;
  while (from < text.size()) {
    const std::optional<Range> match = session.state_->find(expression, impl_->limits.get(), text, from);
    if (!match) break;
    if (match->end == match->begin) {  // Nothing was matched there: look on behind the next character.
      if (match->begin >= text.size()) break;
      from = match->begin + first_utf8_char(text.substr(match->begin)).length;
      continue;
    }
    if (match->begin > done) split_valid(stage + 1, text.substr(done, match->begin - done), session, sink);
    split_valid(stage + 1, text.substr(match->begin, match->end - match->begin), session, sink);
    done = from = match->end;
  }
  if (done < text.size()) split_valid(stage + 1, text.substr(done), session, sink);
}

}  // namespace infer::tokenizer
