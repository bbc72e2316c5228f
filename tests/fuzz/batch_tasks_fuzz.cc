// Files of tasks and of results are anybody's bytes: an error that names a line, or tasks that are whole.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "batch/task.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto tasks = infer::batch::parse_tasks(text, {})) {
    for (const infer::batch::Task& task : *tasks) {
      INFER_CHECK(!task.id.empty() && !task.turns.empty() && task.line > 0);
      INFER_CHECK(task.sampling.validate().has_value());
      INFER_CHECK(!task.deadline || task.deadline->ns() > 0);
    }
  }
  (void)infer::batch::parse_result_ids(text);
  return 0;
}
