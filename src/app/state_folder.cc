#include "app/state_folder.h"

#include <filesystem>

#include "os/environment.h"
#include "os/folder.h"

namespace infer::app {

std::string state_folder() {
  std::filesystem::path folder;
  // The standard says that a relative path here is to be ignored.
  const std::string state = os::environment_variable("XDG_STATE_HOME").value_or("");
  const std::string home = os::environment_variable("HOME").value_or("");
  if (!state.empty() && state.front() == '/') {
    folder = state;
  } else if (!home.empty()) {
    folder = std::filesystem::path(home) / ".local" / "state";
  } else {
    return "";
  }
  const std::string path = (folder / "inferos").string();
  return os::make_private_folder(path) ? path : "";
}

}  // namespace infer::app
