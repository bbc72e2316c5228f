// The routes of the control API: one table of path, method, access, handler and schemas, from which the server's routes
// and /openapi.json come.
#pragma once

#include "api/control_service.h"
#include "api/json.h"
#include "http/route_table.h"

namespace infer::api {

// `service` outlives the server that has the routes.
void add_control_routes(http::RouteTable& routes, ControlService& service);

// OpenAPI 3.1 of these routes.
Json openapi_document();

}  // namespace infer::api
