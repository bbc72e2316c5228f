#include "model/file_fingerprint.h"

#include <algorithm>

#include "model/fingerprint.h"

namespace infer::model {

namespace {

// Sampled from the beginning, the middle and the end of each tensor.
constexpr size_t kSampleBytes = 1024;

void add_tensor(const gguf::Tensor& tensor, Fingerprint& print) {
  print.add(tensor.name);
  print.add_number(static_cast<uint64_t>(tensor.type));
  for (const uint64_t dim : tensor.dims) print.add_number(dim);
  const size_t size = tensor.data.size(), sample = std::min(size, kSampleBytes);
  for (const size_t at : {size_t{0}, (size - sample) / 2, size - sample}) print.add(tensor.data.subspan(at, sample));
}

}  // namespace

uint64_t file_fingerprint(const gguf::File& file) {
  Fingerprint print;
  print.add_number(file.file_bytes());
  print.add_number(static_cast<uint64_t>(file.modified_ns()));
  for (const gguf::MetadataEntry& entry : file.metadata()) {
    print.add(entry.key);
    print.add(entry.value.bytes());
  }
  for (const gguf::Tensor& tensor : file.tensors()) {
    add_tensor(tensor, print);
    file.drop_resident(tensor);  // A touched byte may map megabytes around it.
  }
  return print.value();
}

}  // namespace infer::model
