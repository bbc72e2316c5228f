#include "app/commands.h"
#include "app/loading.h"
#include "base/bytes.h"
#include "base/format.h"
#include "gguf/byte_sink.h"
#include "measure/synthetic_model.h"
#include "os/file_sink.h"
#include "os/interrupt.h"
#include "os/process_facts.h"

namespace infer::app {
namespace {

// A full disk is not the memory budget: its exit code is that of any other failure.
Error as_disk_error(Error error) {
  if (error.code == ErrorCode::kExhausted) error.code = ErrorCode::kIo;
  if (error.code == ErrorCode::kNotFound) error.code = ErrorCode::kIo;
  return error;
}

}  // namespace

Status make_model_command(const MakeModelOptions& options, Services& services) {
  const os::InterruptGuard guard(services.interrupt());
  const Instant start = services.clock().now();
  INFER_ASSIGN(const auto model,
               measure::SyntheticModel::make(
                   {.shape = options.shape, .type = options.type, .seed = options.seed, .context = options.context}));
  const auto room = os::free_disk_bytes(options.path);
  if (room && *room < model.file_bytes()) {
    return Error{ErrorCode::kIo,
                 format("{}: the model takes {}, but only {} are free on that disk; choose another place", options.path,
                        format_bytes(model.file_bytes()), format_bytes(*room))};
  }
  auto file = os::FileSink::create(options.path);
  if (!file) return as_disk_error(std::move(file).error());
  gguf::FileByteSink sink(&*file);
  {
    ProgressBar bar = services.progress("writing " + model_display_name(options.path), ProgressUnit::kBytes);
    const auto progress = [&](uint64_t done) { bar.update(done, model.file_bytes()); };
    Status written = model.write(sink, services.call(std::nullopt), progress);
    if (written) written = file->commit();
    if (!written) return as_disk_error(std::move(written).error());
  }
  const double seconds = (services.clock().now() - start).seconds();
  if (options.json) {
    return services.out().write_json(api::Json::object()
                                         .set("path", options.path)
                                         .set("shape", options.shape)
                                         .set("type", options.type)
                                         .set("seed", options.seed)
                                         .set("bytes", model.file_bytes())
                                         .set("seconds", seconds));
  }
  return services.out().write(format("{}: {} {}, {} in {:.1f} s\n", options.path, options.shape, options.type,
                                     format_bytes(model.file_bytes()), seconds));
}

}  // namespace infer::app
