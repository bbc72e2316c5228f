// Which handler answers which method and path.
//
// A pattern is a path whose segments may be parameters: "/v1/requests/{id}/cancel". A literal segment wins over a
// parameter, whatever the order of adding. Paths are compared decoded, segment by segment, so an escaped '/' stays
// inside its parameter. GET also answers HEAD. Thread safety: const after the table was built.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "http/message.h"
#include "http/response_sink.h"

namespace infer::http {

// Called on an I/O thread with a whole request: it must hand on what takes longer than a millisecond.
using Handler = std::function<void(Request, ResponseSink)>;

enum class Access {
  kOpen,   // No token needed, unless the gate wants one for everything.
  kToken,  // Needs the gate's token.
};

struct Route {
  std::string method;
  Access access = Access::kOpen;
  Handler handler;
};

struct RouteMatch {
  const Route* route = nullptr;  // Null: the path is known or not (`allow`), the method is not.
  std::vector<Parameter> parameters;
  std::string allow;  // "GET, HEAD, OPTIONS"; empty for an unknown path.
};

class RouteTable {
 public:
  // Bugs of the caller: a pattern without its leading '/', the same method and pattern twice.
  void add(std::string_view method, std::string_view pattern, Access access, Handler handler);

  RouteMatch match(std::string_view method, std::string_view path) const;

 private:
  struct Segment {
    std::string text;  // The literal, or the parameter's name.
    bool is_parameter = false;
    auto operator<=>(const Segment&) const = default;
  };
  struct Path {
    std::vector<Segment> segments;
    std::vector<Route> routes;
  };
  static std::optional<std::vector<Parameter>> match_path(const Path& path, const std::vector<std::string>& segments);

  std::vector<Path> paths_;  // Where two patterns fit a path, the one with the earlier literal comes first.
};

}  // namespace infer::http
