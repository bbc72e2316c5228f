// One call's answer on its way out: a step takes what the engine has and gives it to the connection.
// Thread safety: the deliverer's thread.
#pragma once

#include <cstdint>

#include "api/call.h"
#include "base/time.h"

namespace infer::api {

enum class Delivery : uint8_t { kNothing, kPieces, kOver };  // kPieces: some were taken; more will come.

// Goes on as far as it can without waiting.
Delivery deliver(Call& call, Instant now);

// Answers a call that has not begun, or breaks off its stream.
void reject(Call& call, const ApiError& error);

}  // namespace infer::api
