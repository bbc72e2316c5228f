// The secret that those must know who may change a server's settings (header X-Inferos-Token): from the environment, or
// a random one that stays the same from start to start.
// Thread safety: one thread.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"

namespace infer::app {

struct AgentToken {
  std::string text;
  std::string path;     // The file that holds it; "": it came from the environment, or no file could be written.
  bool is_new = false;  // Made just now: nobody knows it yet.
};

// `given` (of the configuration) unless it is empty, else that of the file token-<port> in the state folder, which is
// made, readable by its owner only, where there is none. kInvalidArgument: a token that no header could carry; kIo: no
// random numbers.
Result<AgentToken> read_agent_token(uint16_t port, const std::string& given);

}  // namespace infer::app
