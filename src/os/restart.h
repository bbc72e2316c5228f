// Begins the program anew in this process, when a thread of it is lost: with the same arguments, environment, process
// number and standard streams, and without its other files, sockets and threads.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace infer::os {

// Returns only when it cannot: kIo with the system's reason, kUnsupported where the system knows no such thing.
// arguments: as main() got them. variable, value: added to the environment. Safe while other threads run, if none
// changes the environment.
Error restart_program(const std::vector<std::string>& arguments, const std::string& variable, const std::string& value);

}  // namespace infer::os
