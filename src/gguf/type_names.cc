#include "gguf/type_names.h"

#include <array>

#include "kernels/block_formats.h"

namespace infer::gguf {

namespace {

// By id. Null where the format never defined one.
constexpr std::array<const char*, 43> kTensorTypeNames{
    "f32",        "f16",        "q4_0",       "q4_1",  "q4_2",     "q4_3",     "q5_0",     "q5_1",    "q8_0",
    "q8_1",       "q2_K",       "q3_K",       "q4_K",  "q5_K",     "q6_K",     "q8_K",     "iq2_xxs", "iq2_xs",
    "iq3_xxs",    "iq1_s",      "iq4_nl",     "iq3_s", "iq2_s",    "iq4_xs",   "i8",       "i16",     "i32",
    "i64",        "f64",        "iq1_m",      "bf16",  "q4_0_4_4", "q4_0_4_8", "q4_0_8_8", "tq1_0",   "tq2_0",
    "iq4_nl_4_4", "iq4_nl_4_8", "iq4_nl_8_8", "mxfp4", "nvfp4",    "q1_0",     "q2_0"};

}  // namespace

const char* tensor_type_name(uint32_t gguf_type_id) {
  return gguf_type_id < kTensorTypeNames.size() ? kTensorTypeNames[gguf_type_id] : nullptr;
}

std::string supported_tensor_types() {
  std::string names;
  for (uint32_t id = 0; id < kTensorTypeNames.size(); ++id) {
    const kernels::WeightTypeInfo* info = kernels::weight_type_info(id);
    if (info == nullptr) continue;
    if (!names.empty()) names += ", ";
    names += info->name;
  }
  return names;
}

const char* value_type_name(ValueType type) {
  switch (type) {
    case ValueType::kUint8: return "uint8";
    case ValueType::kInt8: return "int8";
    case ValueType::kUint16: return "uint16";
    case ValueType::kInt16: return "int16";
    case ValueType::kUint32: return "uint32";
    case ValueType::kInt32: return "int32";
    case ValueType::kFloat32: return "float32";
    case ValueType::kBool: return "bool";
    case ValueType::kString: return "string";
    case ValueType::kArray: return "array";
    case ValueType::kUint64: return "uint64";
    case ValueType::kInt64: return "int64";
    case ValueType::kFloat64: return "float64";
  }
  return "unknown";
}

}  // namespace infer::gguf
