#include "base/format.h"

#include <fmt/args.h>
#include <fmt/format.h>

#include "base/check.h"

namespace infer {

std::string format_args(std::string_view pattern, std::initializer_list<FormatArg> args) {
  fmt::dynamic_format_arg_store<fmt::format_context> store;
  store.reserve(args.size(), 0);
  for (const FormatArg& arg : args) {
    std::visit([&store](const auto& value) { store.push_back(value); }, arg);
  }
  try {
    return fmt::vformat(fmt::string_view(pattern.data(), pattern.size()), store);
  } catch (const fmt::format_error& error) {
    check_failed(error.what(), std::string(pattern).c_str(), 0);
  }
}

}  // namespace infer
