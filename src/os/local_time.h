// How the clock on the wall of this machine differs from UTC.
// Thread safety: any thread.
#pragma once

#include "base/time.h"

namespace infer::os {

// Seconds that local time is ahead of UTC at that moment, by the time zone of the user; 0 where the system does not
// say.
int utc_offset_seconds(WallTime time);

}  // namespace infer::os
