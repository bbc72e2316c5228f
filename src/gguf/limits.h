// What a GGUF file may hold at most. Everything beyond is refused when the file is opened, with the limit in the
// message, and the writer keeps to the same limits. Memory needed for opening is bounded twice: by these numbers, and
// by the bytes that the file really has (a count is believed only when that many entries could lie in the rest of the
// file).
#pragma once

#include <cstdint>

namespace infer::gguf {

struct Limits {
  // Real models have 20 to 100 entries; each costs 48 bytes of memory when opened.
  static constexpr uint64_t kMetadataEntries = 1u << 16;
  // The format's own limit for keys.
  static constexpr uint64_t kKeyBytes = (1u << 16) - 1;
  // The longest real strings are chat templates and grammars of some 100 kB.
  static constexpr uint64_t kStringBytes = 1u << 24;
  // The longest real arrays are merge lists of half a million entries; string arrays are scanned once at opening, which
  // at this limit still takes well under a second.
  static constexpr uint64_t kArrayElements = 1u << 24;
  // The largest known models, with one tensor per expert, have about 50,000 over all parts.
  static constexpr uint64_t kTensors = 1u << 17;
  // The format's own limit for tensor names.
  static constexpr uint64_t kTensorNameBytes = 64;
  // The format's own limit for dimensions.
  static constexpr uint32_t kDims = 4;
  // Rows, columns and elements stay exact in int64_t arithmetic everywhere behind the reader.
  static constexpr uint64_t kElements = (uint64_t{1} << 63) - 1;
  // Alignment is a power of two in this range: below 8 no type but bytes would be aligned, and no system has larger
  // pages that a file would be laid out for.
  static constexpr uint32_t kAlignmentMin = 8;
  static constexpr uint32_t kAlignmentMax = 1u << 20;
  // Used when the file has no general.alignment: given by the format.
  static constexpr uint32_t kAlignmentDefault = 32;
  // Parts of a split model: each is one mapping. The largest published ones have a few hundred.
  static constexpr uint64_t kParts = 1024;
};

}  // namespace infer::gguf
