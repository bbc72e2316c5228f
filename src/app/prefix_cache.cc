#include "app/prefix_cache.h"

#include <utility>

#include "model/file_fingerprint.h"
#include "model/fingerprint.h"
#include "os/file_folder.h"

namespace infer::app {
namespace {

// Of all that decides what keys and values a text has, and how they lie in pages.
uint64_t fingerprint_of(const ModelChoice& choice, const LoadedModel& loaded) {
  model::Fingerprint print;
  print.add_number(model::file_fingerprint(*loaded.file));
  print.add(std::string_view(INFEROS_VERSION));
  print.add(std::string_view(loaded.model->kernels().name));
  print.add_number(static_cast<uint64_t>(loaded.model->options().context));
  print.add(kv::mode_name(choice.levels.mode));
  if (choice.kv_floats) print.add("floats");
  print.add_number(static_cast<uint64_t>(choice.levels.recent_window));
  return print.value();
}

Result<std::unique_ptr<kv::PrefixStore>> open_store(const ModelChoice& choice, const LoadedModel& loaded,
                                                    Services& services) {
  INFER_ASSIGN(auto folder, os::open_file_folder(choice.prefix_folder));
  const kv::PrefixStoreOptions options{.shape = {.fingerprint = fingerprint_of(choice, loaded),
                                                 .page = loaded.model->page_pool().shape(),
                                                 .layers = loaded.model->config().layers},
                                       .limit_bytes = choice.prefix_limit_bytes};
  return kv::PrefixStore::open(std::move(folder), options, services.err());
}

}  // namespace

std::unique_ptr<kv::PrefixStore> open_prefix_cache(const ModelChoice& choice, const LoadedModel& loaded,
                                                   Services& services) {
  if (choice.prefix_folder.empty()) return nullptr;
  auto store = open_store(choice, loaded, services);
  if (store) return *std::move(store);
  services.err().write(LogLevel::kWarning, "prefixes are not kept on disk: " + store.error().message);
  return nullptr;
}

}  // namespace infer::app
