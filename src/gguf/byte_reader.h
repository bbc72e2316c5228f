// A cursor over untrusted bytes: every read is checked against what is left, by subtraction, so nothing can wrap.
// Ownership: borrows the bytes. Thread safety: a plain value.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace infer::gguf {

static_assert(std::endian::native == std::endian::little, "GGUF values are read in place: little endian only");

// Unaligned load; the caller has checked that sizeof(T) bytes are there.
template <class T>
T load(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
}

inline std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

class ByteReader {
 public:
  explicit ByteReader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  uint64_t offset() const { return offset_; }
  uint64_t remaining() const { return bytes_.size() - offset_; }

  // False, with nothing consumed, when fewer bytes are left.
  template <class T>
  [[nodiscard]] bool read(T* out) {
    if (remaining() < sizeof(T)) return false;
    *out = load<T>(bytes_.data() + offset_);
    offset_ += sizeof(T);
    return true;
  }
  [[nodiscard]] bool take(uint64_t count, std::span<const std::byte>* out) {
    if (remaining() < count) return false;
    *out = bytes_.subspan(offset_, static_cast<size_t>(count));
    offset_ += static_cast<size_t>(count);
    return true;
  }
  // A string as the format stores it: a 64-bit length, then the bytes. On failure `*length` says what was asked for
  // (0 when not even the length was there) and the position is anywhere.
  [[nodiscard]] bool read_string(std::span<const std::byte>* out, uint64_t* length) {
    *length = 0;
    return read(length) && take(*length, out);
  }
  // The part of the bytes that lies in [begin, offset()).
  std::span<const std::byte> since(uint64_t begin) const {
    return bytes_.subspan(static_cast<size_t>(begin), offset_ - static_cast<size_t>(begin));
  }

 private:
  std::span<const std::byte> bytes_;
  size_t offset_ = 0;
};

}  // namespace infer::gguf
