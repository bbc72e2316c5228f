// POST /v1/responses: the body. Nothing is stored between requests, so that each brings its whole conversation.
// Thread safety: pure functions.
#pragma once

#include <cstdint>

#include "api/chat_request.h"
#include "api/field_reader.h"
#include "api/served_model.h"

namespace infer::api {

// The same as the request for a chat that it means.
ChatRequest read_responses_request(FieldReader& fields, const ServedModel& model, uint64_t seed);

}  // namespace infer::api
