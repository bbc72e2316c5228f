#include "jinja/item_access.h"

#include <algorithm>

#include "jinja/evaluator.h"

namespace infer::jinja {

Result<Value> item_at_path(const Value& value, const Value& path, Evaluator& evaluator) {
  if (path.is_integral()) return evaluator.item(value, path);
  if (!path.is(Kind::kString)) return bad_argument("the attribute is neither a name nor an index");
  const std::string_view names = path.text().bytes();
  Value at = value;
  for (size_t begin = 0; begin <= names.size();) {
    const size_t end = std::min(names.find('.', begin), names.size());
    const std::string_view name = names.substr(begin, end - begin);
    const bool is_index = !name.empty() && name.size() < 10 && name.find_first_not_of("0123456789") == name.npos;
    const Value key =
        is_index ? Value::of(int64_t{std::stoi(std::string(name))}) : evaluator.heap().string(name, Origin::kTemplate);
    INFER_ASSIGN(at, evaluator.item(at, key));
    begin = end + 1;
  }
  return at;
}

}  // namespace infer::jinja
