// The small model that drafts what answers say next (engine/draft_model.h): loaded beside the one that answers, on the
// same threads, within what memory that one leaves.
// Thread safety: one thread.
#pragma once

#include <memory>

#include "app/command_line.h"
#include "app/loading.h"
#include "app/services.h"
#include "base/result.h"
#include "gguf/file.h"
#include "model/model.h"
#include "model/repack_cache.h"

namespace infer::app {

// Of logits in a step, for tokens of drafts besides the due ones.
inline constexpr int kDraftRows = 16;

// Declaration order is lifetime. Its model is null where no draft model was asked for.
struct LoadedDraft {
  std::string name;
  std::unique_ptr<gguf::File> file;
  std::unique_ptr<model::RepackCache> repack_cache;
  std::unique_ptr<model::Model> model;
};

// Of choice.draft_path. sequences: answers at once. Errors: those of load_model, and kInvalidArgument where its
// vocabulary is not that of `target`.
Result<LoadedDraft> load_draft(const ModelChoice& choice, const LoadedModel& target, int sequences,
                               const CallContext& call, Services& services);

}  // namespace infer::app
