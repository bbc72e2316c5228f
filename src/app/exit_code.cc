#include "app/exit_code.h"

namespace infer::app {

int exit_code(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument: return kExitUsage;
    case ErrorCode::kNotFound:
    case ErrorCode::kCorrupt:
    case ErrorCode::kUnsupported: return kExitInput;
    case ErrorCode::kDeadline: return kExitDeadline;
    case ErrorCode::kExhausted: return kExitMemory;
    case ErrorCode::kBusy:
    case ErrorCode::kCancelled:
    case ErrorCode::kIo:
    case ErrorCode::kInternal: return kExitOther;
  }
  return kExitOther;
}

Error as_input_error(Error error, std::string_view remedy) {
  if (error.code == ErrorCode::kInvalidArgument) error.code = ErrorCode::kCorrupt;
  if (error.code == ErrorCode::kIo) error.code = ErrorCode::kNotFound;
  // A layer that already says what to do ("...; do this") is left as it is.
  if (exit_code(error.code) == kExitInput && error.message.find("; ") == std::string::npos) {
    error.message += "; ";
    error.message += remedy;
  }
  return error;
}

}  // namespace infer::app
