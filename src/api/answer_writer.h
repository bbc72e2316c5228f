// Writes one reply in the form of one API, from what the engine says: as a stream while it comes, or whole at the end.
//
// A reply has one or more choices, each an answer of the engine of its own. The order of calls: begin(); then add() for
// the pieces of each choice and end_choice() once for each, choices mixed in any way; then end() or whole(). Where
// something fails, failed() comes instead of the rest. What the functions return is sent to the client as it is; a
// reply that is not a stream returns nothing until whole(). Thread safety: one thread at a time.
#pragma once

#include <cstddef>
#include <string>

#include "api/api_error.h"
#include "api/json.h"
#include "engine/answer_stream.h"
#include "engine/request.h"
#include "http/response_sink.h"

namespace infer::api {

class AnswerWriter {
 public:
  virtual ~AnswerWriter() = default;

  virtual http::StreamHead stream_head() const { return http::event_stream_head(); }
  virtual std::string begin() { return {}; }
  virtual std::string add(size_t choice, engine::AnswerPiece piece) = 0;
  virtual std::string end_choice(size_t choice, const engine::RequestResult& result) = 0;
  virtual std::string end() = 0;
  virtual std::string failed(const ApiError& error) = 0;
  virtual Json whole() = 0;
};

}  // namespace infer::api
