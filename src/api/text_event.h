// An event of a stream in which only one text changes from token to token: put together once, then filled in.
// Thread safety: a plain value.
#pragma once

#include <string>
#include <string_view>

namespace infer::api {

class TextEvent {
 public:
  // The text that marks the place.
  static constexpr const char* kPlace = "\x01";

  // `event`: as it is sent, with kPlace for its text; of several such texts the last one.
  explicit TextEvent(const std::string& event);

  // The same event with this text.
  std::string with(std::string_view text) const;

 private:
  std::string before_, after_;
};

}  // namespace infer::api
