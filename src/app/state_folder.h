// Where the program keeps what should outlive it, for this user alone: history, tokens.
// Thread safety: any thread.
#pragma once

#include <string>

namespace infer::app {

// $XDG_STATE_HOME/inferos, or ~/.local/state/inferos, made if it is not there; "" when neither is known or it cannot be
// made.
std::string state_folder();

}  // namespace infer::app
