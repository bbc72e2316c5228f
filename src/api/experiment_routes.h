// The routes that measure on a running server: evaluations, tuning, comparisons of policies.
// Thread safety: as all handlers.
#pragma once

#include "api/control_service.h"
#include "api/json.h"
#include "http/message.h"
#include "http/response_sink.h"

namespace infer::api {

void post_evaluate(ControlService& service, const http::Request& request, const http::ResponseSink& sink);
void get_evaluate(ControlService& service, const http::Request& request, const http::ResponseSink& sink);
void post_tune(ControlService& service, const http::Request& request, const http::ResponseSink& sink);
void get_tune(ControlService& service, const http::Request& request, const http::ResponseSink& sink);
void post_ab(ControlService& service, const http::Request& request, const http::ResponseSink& sink);
void get_ab(ControlService& service, const http::Request& request, const http::ResponseSink& sink);

// Of the bodies.
Json evaluation_schema();
Json tune_schema();
Json ab_schema();

}  // namespace infer::api
