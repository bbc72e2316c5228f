// What somebody probably meant who wrote a name that does not exist.
// Thread safety: a pure function.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace infer {

// Of `names` the one that `word` was most probably meant to be, by letters replaced, missing or too many; "" when none
// is near.
std::string nearest_name(std::string_view word, std::span<const std::string> names);

}  // namespace infer
