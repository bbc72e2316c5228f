#include "kv/prefix_file.h"

#include <charconv>
#include <cstring>

#include "base/format.h"
#include "base/hash.h"
#include "kernels/kernel_table.h"

namespace infer::kv {

namespace {

constexpr char kMagic[8] = {'I', 'N', 'F', 'R', 'P', 'R', 'F', 'X'};
constexpr uint32_t kFormatVersion = 1;
constexpr std::string_view kSuffix = ".prefix";

// As it lies in the file; numbers in the machine's order.
struct Header {
  char magic[8];
  uint32_t version;
  uint32_t layers;
  uint64_t fingerprint;
  uint32_t kv_heads;
  uint32_t head_dim;
  uint64_t tokens;
};
static_assert(sizeof(Header) == 40);

Header header_of(const PrefixFileShape& shape, size_t tokens) {
  Header header{};
  std::memcpy(header.magic, kMagic, sizeof kMagic);
  header.version = kFormatVersion;
  header.layers = static_cast<uint32_t>(shape.layers);
  header.fingerprint = shape.fingerprint;
  header.kv_heads = static_cast<uint32_t>(shape.page.kv_heads);
  header.head_dim = static_cast<uint32_t>(shape.page.head_dim);
  header.tokens = tokens;
  return header;
}

// Pages begin at a multiple of this, behind levels and tokens.
constexpr size_t kAlignment = 64;

uint64_t checksum_of(std::string_view bytes) { return hash_block(bytes.data(), bytes.size()); }

Error corrupt(std::string why) { return Error{ErrorCode::kCorrupt, std::move(why)}; }

}  // namespace

size_t stored_page_bytes(const PageShape& shape, uint8_t level) {
  return level == kNoPageLevel ? 0 : shape.page_bytes(static_cast<Level>(level));
}

size_t prefix_file_pages_offset(const PrefixFileShape& shape, size_t tokens) {
  const size_t end = sizeof(Header) + static_cast<size_t>(shape.layers) + tokens * sizeof(TokenId);
  return (end + kAlignment - 1) / kAlignment * kAlignment;
}

size_t prefix_file_bytes_max(const PrefixFileShape& shape, size_t tokens) {
  return prefix_file_pages_offset(shape, tokens) +
         static_cast<size_t>(shape.layers) * shape.page.page_bytes(Level::k16) + sizeof(uint64_t);
}

std::string begin_prefix_file(const PrefixFileShape& shape, std::span<const TokenId> text,
                              std::span<const uint8_t> levels) {
  const size_t offset = prefix_file_pages_offset(shape, text.size());
  size_t bytes = offset + sizeof(uint64_t);
  for (const uint8_t level : levels) bytes += stored_page_bytes(shape.page, level);
  std::string file;
  file.reserve(bytes);
  const Header header = header_of(shape, text.size());
  file.append(reinterpret_cast<const char*>(&header), sizeof header);
  file.append(reinterpret_cast<const char*>(text.data()), text.size_bytes());
  file.append(reinterpret_cast<const char*>(levels.data()), levels.size());
  file.resize(bytes);
  return file;
}

void seal_prefix_file(std::string& file) {
  const uint64_t checksum = checksum_of(std::string_view(file).substr(0, file.size() - sizeof(uint64_t)));
  std::memcpy(file.data() + file.size() - sizeof checksum, &checksum, sizeof checksum);
}

Result<PrefixFileView> open_prefix_file(const std::string& file, const PrefixFileShape& shape,
                                        std::span<const TokenId> text) {
  const size_t offset = prefix_file_pages_offset(shape, text.size());
  if (file.size() < offset + sizeof(uint64_t)) {
    return corrupt(format("it has {} bytes, its beginning alone takes {}", file.size(), offset));
  }
  const Header expected = header_of(shape, text.size());
  if (std::memcmp(file.data(), &expected, sizeof expected) != 0) return corrupt("its header is of something else");
  const char* const tokens = file.data() + sizeof expected;
  if (std::memcmp(tokens, text.data(), text.size_bytes()) != 0) return corrupt("it is of another text");
  const auto* const levels = reinterpret_cast<const uint8_t*>(tokens + text.size_bytes());
  PrefixFileView view{.levels = {levels, static_cast<size_t>(shape.layers)}, .pages = {}};
  size_t bytes = 0;
  for (const uint8_t level : view.levels) {
    if (level > static_cast<uint8_t>(Level::k4) && level != kNoPageLevel) {
      return corrupt(format("a page has level {}, which there is not", level));
    }
    bytes += stored_page_bytes(shape.page, level);
  }
  if (file.size() != offset + bytes + sizeof(uint64_t)) {
    return corrupt(format("it has {} bytes instead of {}", file.size(), offset + bytes + sizeof(uint64_t)));
  }
  uint64_t checksum = 0;
  std::memcpy(&checksum, file.data() + offset + bytes, sizeof checksum);
  if (checksum_of(std::string_view(file).substr(0, offset + bytes)) != checksum) {
    return corrupt("its bytes do not agree with its checksum");
  }
  view.pages = std::as_bytes(std::span(file)).subspan(offset, bytes);
  return view;
}

std::string prefix_file_name(uint64_t fingerprint, uint64_t key, size_t pages) {
  return format("{:016x}-{:016x}-{:x}{}", fingerprint, key, pages, kSuffix);
}

bool parse_prefix_file_name(std::string_view name, PrefixFileName& into) {
  if (!name.ends_with(kSuffix)) return false;
  name.remove_suffix(kSuffix.size());
  const auto take = [&](uint64_t& value) {
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), value, 16);
    if (error != std::errc()) return false;
    name.remove_prefix(static_cast<size_t>(end - name.data()));
    return true;
  };
  const auto skip_dash = [&] {
    if (!name.starts_with('-')) return false;
    name.remove_prefix(1);
    return true;
  };
  return take(into.fingerprint) && skip_dash() && take(into.key) && skip_dash() && take(into.pages) && name.empty();
}

bool is_unfinished_prefix_file(std::string_view name) {
  return name.ends_with(".partial") && name.find(std::string(kSuffix) + ".") != std::string_view::npos;
}

}  // namespace infer::kv
