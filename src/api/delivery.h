// One call's answer on its way out: a step takes what the engine has and gives it to the connection.
// Thread safety: the deliverer's thread.
#pragma once

#include <string_view>

#include "api/call.h"
#include "base/time.h"

namespace infer::api {

// After its rest a stream is left alone for so long while no next piece comes.
inline constexpr Duration kPieceWait = Duration::from_us(300);

// Goes on as far as it can without waiting; a stream that it writes to rests for `rest`. True when the call is over.
bool deliver(Call& call, Instant now, Duration rest);

// Answers a call that has not begun, or breaks off its stream.
void reject(Call& call, const ApiError& error);

}  // namespace infer::api
