// How calls fail. An operating error (missing file, hostile input, deadline) is a value: a function that can meet one
// returns Result<T> and the caller must look at it. Programmer errors are INFER_CHECKs (check.h), never Results.
//
// Invariants: a Result holds exactly one of value and error. Error messages say what was expected, what was found and,
// where there is one, what the user can do; context is added on the way up with `with_context`.
// Thread safety: a plain value.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "base/check.h"

namespace infer {

// Chosen by what the caller can do about it; app/exit_code.h maps them to exit codes.
enum class ErrorCode {
  kInvalidArgument,  // The request is wrong: fix the arguments.
  kNotFound,         // The named thing does not exist.
  kCorrupt,          // The input's bytes break its format: get a good copy.
  kUnsupported,      // Well formed, but this build cannot do it.
  kExhausted,        // A limit or budget (memory, pages, disk) is used up.
  kBusy,             // Try again later.
  kDeadline,         // The deadline passed first.
  kCancelled,        // Somebody asked to stop.
  kIo,               // The operating system refused.
  kInternal,         // A bug, caught.
};

const char* error_code_name(ErrorCode code);

struct Error {
  ErrorCode code = ErrorCode::kInternal;
  std::string message;

  // "loading m.gguf: tensor x: ..." from "tensor x: ...".
  Error with_context(std::string_view context) &&;
};

template <class T>
class [[nodiscard]] Result {
 public:
  using value_type = T;

  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

  bool has_value() const { return state_.index() == 0; }
  explicit operator bool() const { return has_value(); }

  T& value() & {
    INFER_CHECK(has_value());
    return *std::get_if<0>(&state_);
  }
  const T& value() const& {
    INFER_CHECK(has_value());
    return *std::get_if<0>(&state_);
  }
  T&& value() && {
    INFER_CHECK(has_value());
    return std::move(*std::get_if<0>(&state_));
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  const Error& error() const& {
    INFER_CHECK(!has_value());
    return *std::get_if<1>(&state_);
  }
  Error&& error() && {
    INFER_CHECK(!has_value());
    return std::move(*std::get_if<1>(&state_));
  }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  using value_type = void;

  Result() = default;
  Result(Error error) : error_(std::move(error)) {}

  bool has_value() const { return !error_.has_value(); }
  explicit operator bool() const { return has_value(); }

  const Error& error() const& {
    INFER_CHECK(error_.has_value());
    return *error_;
  }
  Error&& error() && {
    INFER_CHECK(error_.has_value());
    return std::move(*error_);
  }

 private:
  std::optional<Error> error_;
};

using Status = Result<void>;

}  // namespace infer

#define INFER_RESULT_CAT2(a, b) a##b
#define INFER_RESULT_CAT(a, b) INFER_RESULT_CAT2(a, b)

// Returns the error of `expr` from the enclosing function, if it has one.
#define INFER_TRY(expr)                           \
  do {                                            \
    auto infer_try_result = (expr);               \
    if (!infer_try_result.has_value()) {          \
      return std::move(infer_try_result).error(); \
    }                                             \
  } while (false)

// INFER_ASSIGN(auto file, File::open(path)): declares or assigns the value, or returns the error.
#define INFER_ASSIGN(target, expr) INFER_ASSIGN_IMPL(INFER_RESULT_CAT(infer_assign_result_, __LINE__), target, expr)
#define INFER_ASSIGN_IMPL(result, target, expr) \
  auto result = (expr);                         \
  if (!result.has_value()) {                    \
    return std::move(result).error();           \
  }                                             \
  target = std::move(result).value()
