#include "http/route_table.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "http/syntax.h"

namespace infer::http {

namespace {

// "/v1/x" to "v1", "x"; "/" to "".
std::vector<std::string_view> split_path(std::string_view path) {
  std::vector<std::string_view> segments;
  while (!path.empty()) {
    path.remove_prefix(1);
    const size_t end = std::min(path.find('/'), path.size());
    segments.push_back(path.substr(0, end));
    path.remove_prefix(end);
  }
  return segments;
}

std::string allowed_methods(const std::vector<Route>& routes) {
  std::string allow;
  for (const Route& route : routes) allow += route.method + (route.method == "GET" ? ", HEAD, " : ", ");
  return allow + "OPTIONS";
}

}  // namespace

void RouteTable::add(std::string_view method, std::string_view pattern, Access access, Handler handler) {
  INFER_CHECK(pattern.starts_with('/') && is_token(method) && handler != nullptr);
  Path path;
  for (const std::string_view part : split_path(pattern)) {
    const bool is_parameter = part.size() > 2 && part.front() == '{' && part.back() == '}';
    path.segments.push_back({std::string(is_parameter ? part.substr(1, part.size() - 2) : part), is_parameter});
  }
  // Literals before parameters, segment by segment; among literals any order will do.
  const auto goes_before = [](const Path& a, const Path& b) {
    return std::lexicographical_compare(a.segments.begin(), a.segments.end(), b.segments.begin(), b.segments.end(),
                                        [](const Segment& x, const Segment& y) {
                                          return std::pair(x.is_parameter, x.text) < std::pair(y.is_parameter, y.text);
                                        });
  };
  auto at = std::lower_bound(paths_.begin(), paths_.end(), path, goes_before);
  if (at == paths_.end() || at->segments != path.segments) at = paths_.insert(at, std::move(path));
  for (const Route& route : at->routes) INFER_CHECK(route.method != method);
  at->routes.push_back({std::string(method), access, std::move(handler)});
}

std::optional<std::vector<Parameter>> RouteTable::match_path(const Path& path,
                                                             const std::vector<std::string>& segments) {
  if (path.segments.size() != segments.size()) return std::nullopt;
  std::vector<Parameter> parameters;
  for (size_t i = 0; i < segments.size(); ++i) {
    const Segment& wanted = path.segments[i];
    if (wanted.is_parameter) {
      if (segments[i].empty()) return std::nullopt;
      parameters.push_back({wanted.text, segments[i]});
    } else if (wanted.text != segments[i]) {
      return std::nullopt;
    }
  }
  return parameters;
}

RouteMatch RouteTable::match(std::string_view method, std::string_view path) const {
  if (!path.starts_with('/')) return {};
  std::vector<std::string> segments;
  for (const std::string_view part : split_path(path)) {
    auto decoded = percent_decode(part, PlusMeans::kPlus);
    if (!decoded) return {};
    segments.push_back(std::move(*decoded));
  }
  for (const Path& candidate : paths_) {
    auto parameters = match_path(candidate, segments);
    if (!parameters) continue;
    const auto has_method = [&](std::string_view wanted) {
      return std::find_if(candidate.routes.begin(), candidate.routes.end(),
                          [&](const Route& route) { return route.method == wanted; });
    };
    auto route = has_method(method);
    if (route == candidate.routes.end() && method == "HEAD") route = has_method("GET");
    const Route* found = route == candidate.routes.end() ? nullptr : &*route;
    return {found, std::move(*parameters), allowed_methods(candidate.routes)};
  }
  return {};
}

}  // namespace infer::http
