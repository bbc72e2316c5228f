// The routes of the OpenAI API, and those that every server has: health, and cancelling what is under way.
// docs/formats/openai_api.md says what is understood. Ownership: the handlers borrow service and model, which must
// outlive the server. Thread safety: one thread, while the table is built.
#pragma once

#include "api/answer_service.h"
#include "api/served_model.h"
#include "base/time.h"
#include "engine/engine.h"
#include "http/route_table.h"

namespace infer::api {

// POST /v1/chat/completions, /v1/completions, /v1/responses, /v1/embeddings; GET /v1/models, /v1/models/{id}.
void add_openai_routes(http::RouteTable& routes, AnswerService& service, const ServedModel& model);

// GET /health, /v1/health: 200 while answers can be expected, 503 when the engine does not move although it has work;
// POST /v1/requests/{id}/cancel.
void add_service_routes(http::RouteTable& routes, AnswerService& service, const engine::Engine& engine,
                        const Clock& clock);

}  // namespace infer::api
