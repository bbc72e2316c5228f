// A string that knows which of its bytes come from the template's author and which from the caller's data.
//
// A chat template joins both into one prompt. Only what the template's author wrote may become control tokens, so the
// origin of every byte is carried through concatenation, slicing, replacing and trimming up to the output. The obvious
// alternative, to escape special tokens in messages, changes what the model reads and depends on the vocabulary.
// Invariants: runs() is ascending, neighbours differ in origin, none is empty, the last one ends at size().
// Thread safety: a plain value.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace infer::jinja {

enum class Origin : uint8_t { kTemplate, kInput };

class Text {
 public:
  struct Run {
    size_t end;  // In bytes from the start of the text.
    Origin origin;
  };

  Text() = default;
  Text(std::string bytes, Origin origin);

  const std::string& bytes() const { return bytes_; }
  size_t size() const { return bytes_.size(); }
  bool empty() const { return bytes_.empty(); }
  const std::vector<Run>& runs() const { return runs_; }
  // Of the byte at `at`, which lies inside.
  Origin origin_at(size_t at) const;

  void append(std::string_view bytes, Origin origin);
  void append(const Text& other) { append(other, 0, other.size()); }
  // The bytes [begin, end) of another text.
  void append(const Text& other, size_t begin, size_t end);

 private:
  size_t run_at(size_t at) const;

  std::string bytes_;
  std::vector<Run> runs_;
};

}  // namespace infer::jinja
