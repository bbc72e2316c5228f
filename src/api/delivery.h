// One call's answer on its way out: a step takes what the engine has and gives it to the connection.
// Thread safety: the deliverer's thread.
#pragma once

#include <string_view>

#include "api/call.h"
#include "base/time.h"

namespace infer::api {

// A stream is left alone for so long after it was written to, and for kPieceWait more while no next piece comes.
inline constexpr Duration kStreamRest = Duration::from_us(500);
inline constexpr Duration kPieceWait = Duration::from_us(700);

// Goes on as far as it can without waiting. True when the call is over.
bool deliver(Call& call, Instant now);

// Answers a call that has not begun, or breaks off its stream.
void reject(Call& call, const ApiError& error);

}  // namespace infer::api
