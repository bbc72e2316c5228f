// The routes of the control API: one table of path, method, access, handler and schemas, from which the server's routes
// and /openapi.json come.
#pragma once

#include <string_view>

#include "api/control_service.h"
#include "api/json.h"
#include "http/message.h"
#include "http/route_table.h"

namespace infer::api {

// `service` outlives the server that has the routes.
void add_control_routes(http::RouteTable& routes, ControlService& service);

// A refusal before any handler saw the request, in the shape of the API that the path belongs to: the agent's for these
// routes, OpenAI's for all others.
http::Response render_refusal(const http::Refusal& refusal, std::string_view path);

// OpenAPI 3.1 of these routes.
Json openapi_document();

}  // namespace infer::api
