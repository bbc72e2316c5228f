// Any bytes: the reader refuses them or keeps all the promises of gguf/file.h.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>

#include "gguf/file.h"
#include "testing/gguf_invariants.h"

// kInvalidArgument: a later part of a split model, which is fine but not the one to open.
static bool is_refusal_of_bytes(infer::ErrorCode code) {
  return code == infer::ErrorCode::kCorrupt || code == infer::ErrorCode::kUnsupported ||
         code == infer::ErrorCode::kInvalidArgument;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  const auto file = infer::gguf::File::parse(bytes, "fuzz");
  std::string broken;
  if (file) {
    broken = infer::testing::broken_invariant(**file, bytes);
  } else if (!is_refusal_of_bytes(file.error().code)) {
    broken = "an unexpected kind of error: " + file.error().message;
  }
  if (!broken.empty()) {
    std::fprintf(stderr, "%s\n", broken.c_str());
    std::abort();
  }
  return 0;
}
