// A GGUF file put together byte by byte, so that tests can write what gguf::Writer refuses.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

#include "gguf/file.h"

namespace infer::testing {

class GgufBytes {
 public:
  template <class T>
  GgufBytes& put(T value) {
    char stored[sizeof(T)];
    std::memcpy(stored, &value, sizeof(T));
    return raw({stored, sizeof(T)});
  }
  GgufBytes& raw(std::string_view text) {
    bytes_.append(text);
    return *this;
  }
  GgufBytes& text(std::string_view value) { return put(uint64_t{value.size()}).raw(value); }

  GgufBytes& preamble(uint32_t version, uint64_t tensors, uint64_t entries) {
    return raw("GGUF").put(version).put(tensors).put(entries);
  }
  // A key and its type id; the value follows.
  GgufBytes& key(std::string_view name, gguf::ValueType type) { return text(name).put(static_cast<uint32_t>(type)); }
  GgufBytes& u32_entry(std::string_view name, uint32_t value) { return key(name, gguf::ValueType::kUint32).put(value); }
  GgufBytes& string_entry(std::string_view name, std::string_view value) {
    return key(name, gguf::ValueType::kString).text(value);
  }
  GgufBytes& array_key(std::string_view name, uint32_t element_type, uint64_t count) {
    return key(name, gguf::ValueType::kArray).put(element_type).put(count);
  }
  GgufBytes& tensor(std::string_view name, std::initializer_list<uint64_t> dims, uint32_t type, uint64_t offset) {
    text(name).put(static_cast<uint32_t>(dims.size()));
    for (const uint64_t dim : dims) put(dim);
    return put(type).put(offset);
  }
  GgufBytes& pad(size_t alignment) { return zeros((alignment - bytes_.size() % alignment) % alignment); }
  GgufBytes& zeros(size_t count) {
    bytes_.append(count, '\0');
    return *this;
  }

  std::span<const std::byte> bytes() const { return std::as_bytes(std::span(bytes_)); }

 private:
  std::string bytes_;
};

}  // namespace infer::testing
