// What a model file is known by without reading all of it, for caches on disk: its size and time of change, all
// metadata, and of each tensor its name, type, shape and samples of its bytes. Finds accidents, not forgery.
// Thread safety: pure, but for the file's pages that it reads and gives back.
#pragma once

#include <cstdint>

#include "gguf/file.h"

namespace infer::model {

uint64_t file_fingerprint(const gguf::File& file);

}  // namespace infer::model
