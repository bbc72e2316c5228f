// One file of the prefix cache on disk (docs/formats/prefix_file.md): 64 tokens at one place of one text, their keys
// and values in all layers as they lie in memory, all tokens before them, and a checksum.
//
// A file is good only for the very text, model and shape that it was written for, all of which it holds: a collision of
// hashes, a foreign file and a damaged one are told apart from it, never used.
// Thread safety: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "kv/page_pool.h"

namespace infer::kv {

// What all files of one model have in common.
struct PrefixFileShape {
  uint64_t fingerprint = 0;  // Of the model and whatever else decides what pages hold.
  PageShape page{};
  int layers = 0;
};

// Of a layer: the level of its page, or that a window had passed it.
inline constexpr uint8_t kNoPageLevel = 0xFF;

// Bytes of a page in a file; of none, 0.
size_t stored_page_bytes(const PageShape& shape, uint8_t level);
// The most that a file behind `tokens` tokens takes.
size_t prefix_file_bytes_max(const PrefixFileShape& shape, size_t tokens);

// A file without its pages and its checksum, and room for them behind. text: all tokens up to the end of the node.
// levels: [layers].
std::string begin_prefix_file(const PrefixFileShape& shape, std::span<const TokenId> text,
                              std::span<const uint8_t> levels);
// Where the pages begin, layer behind layer.
size_t prefix_file_pages_offset(const PrefixFileShape& shape, size_t tokens);
// The pages are there: the checksum is written.
void seal_prefix_file(std::string& file);

struct PrefixFileView {
  std::span<const uint8_t> levels;   // [layers]
  std::span<const std::byte> pages;  // Layer behind layer.
};

// kCorrupt says why the file is not the one of this text.
Result<PrefixFileView> open_prefix_file(const std::string& file, const PrefixFileShape& shape,
                                        std::span<const TokenId> text);

// "<fingerprint>-<key>-<pages>.prefix", with key the hash chained over the text, and how many pages of 64 tokens it is.
std::string prefix_file_name(uint64_t fingerprint, uint64_t key, size_t pages);

struct PrefixFileName {
  uint64_t fingerprint = 0;
  uint64_t key = 0;
  uint64_t pages = 0;
};
// False when it is not such a name.
bool parse_prefix_file_name(std::string_view name, PrefixFileName& into);
// Of a file that was begun and not finished.
bool is_unfinished_prefix_file(std::string_view name);

}  // namespace infer::kv
