// A moment as a calendar shows it, in UTC.
// Thread safety: pure functions.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "base/time.h"

namespace infer::jinja {

// strftime in the C locale: %a %A %b %B %d %e %H %I %j %m %M %p %S %y %Y %Z %z %F %T %D %%, and %-d and its like
// without leading zeros. kUnsupported for others.
Result<std::string> format_time(WallTime time, std::string_view pattern);

}  // namespace infer::jinja
