// The process environment: read by app/ alone, through here.
#pragma once

#include <optional>
#include <string>

namespace infer::os {

// UTF-8. nullopt when it is not set; "" when it is set to nothing. Not safe beside a thread that changes the
// environment; nothing in this program does.
std::optional<std::string> environment_variable(const std::string& name);

}  // namespace infer::os
