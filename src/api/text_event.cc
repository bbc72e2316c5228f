#include "api/text_event.h"

#include "api/json.h"
#include "base/check.h"

namespace infer::api {

TextEvent::TextEvent(const std::string& event) {
  const std::string place = Json(kPlace).dump();
  const size_t at = event.rfind(place);
  INFER_CHECK(at != std::string::npos);
  before_ = event.substr(0, at);
  after_ = event.substr(at + place.size());
}

std::string TextEvent::with(std::string_view text) const {
  const std::string written = Json(text).dump();
  std::string event;
  event.reserve(before_.size() + written.size() + after_.size());
  return event.append(before_).append(written).append(after_);
}

}  // namespace infer::api
