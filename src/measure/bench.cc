#include "measure/bench.h"

#include <algorithm>
#include <span>

#include "base/format.h"
#include "base/hash.h"
#include "base/rng.h"

namespace infer::measure {
namespace {

constexpr uint64_t kPromptSeed = 42;

class Bench {
 public:
  Bench(model::Model& model, const BenchSettings& settings, const CallContext& call, const BenchProgress& progress)
      : model_(model), settings_(settings), call_(call), progress_(progress), cache_(model.make_sequence()) {
    Rng rng(kPromptSeed);
    const auto vocabulary = static_cast<uint32_t>(model.config().vocabulary);
    ids_.resize(static_cast<size_t>(settings.depth + settings.prompt_tokens));
    for (TokenId& id : ids_) id = static_cast<TokenId>(rng.below(vocabulary));
    const auto per_repetition = static_cast<uint64_t>(settings.prompt_tokens + settings.generated_tokens);
    tokens_total_ =
        static_cast<uint64_t>(settings.depth) + per_repetition * static_cast<uint64_t>(settings.repetitions + 1);
  }

  Result<BenchResult> run() {
    if (settings_.depth > 0) INFER_TRY(feed(0, settings_.depth));
    BenchResult result;
    std::vector<double> prefill, decode, prompt_seconds;
    for (int repetition = 0; repetition <= settings_.repetitions; ++repetition) {
      INFER_ASSIGN(const Repetition one, repeat());
      if (repetition == 0) {  // Warm-up: caches, page faults, clocks.
        result.output_hash = one.hash;
        continue;
      }
      if (one.hash != result.output_hash) {
        return Error{ErrorCode::kInternal, format("bench: repetition {} gave {:016x}, the first gave {:016x}: the same "
                                                  "input must give the same output; please report this",
                                                  repetition, one.hash, result.output_hash)};
      }
      prompt_seconds.push_back(one.prefill_seconds);
      prefill.push_back(settings_.prompt_tokens / std::max(one.prefill_seconds, 1e-9));
      if (settings_.generated_tokens > 0) {
        decode.push_back(settings_.generated_tokens / std::max(one.decode_seconds, 1e-9));
      }
    }
    result.prefill_tokens_per_second = summarize(prefill);
    result.decode_tokens_per_second = summarize(decode);
    result.time_to_first_token = Duration::from_seconds(summarize(prompt_seconds).median);
    result.decode_bytes_per_token = model_.bytes_per_token(settings_.depth + settings_.generated_tokens / 2);
    result.prefill_operations_per_token = model_.operations_per_token(false);
    result.kv_bytes = cache_.kv_bytes();
    result.kv_bytes_f16 = cache_.kv_bytes_f16();
    return result;
  }

 private:
  struct Repetition {
    double prefill_seconds = 0;
    double decode_seconds = 0;
    uint64_t hash = 0;
  };

  Result<Repetition> repeat() {
    Repetition result;
    Instant start = call_.clock.now();
    INFER_TRY(feed(settings_.depth, settings_.prompt_tokens));
    result.prefill_seconds = (call_.clock.now() - start).seconds();
    const std::span<const float> logits = model_.logits(0);
    result.hash = hash_bytes(logits.data(), logits.size_bytes());

    TokenId next = best_token();
    cache_.truncate(settings_.depth);
    start = call_.clock.now();
    for (int i = 0; i < settings_.generated_tokens; ++i) {
      result.hash = hash_bytes(&next, sizeof(next), result.hash);
      INFER_TRY(step({&next, 1}, true));
      next = best_token();
    }
    result.decode_seconds = (call_.clock.now() - start).seconds();
    if (settings_.generated_tokens > 0) cache_.truncate(settings_.depth);
    return result;
  }

  // Computes ids_[begin, begin + count) in steps as large as the model takes; logits after the last.
  Status feed(int begin, int count) {
    const int step_max = model_.options().tokens_per_step;
    for (int done = 0; done < count; done += step_max) {
      const int now = std::min(step_max, count - done);
      const std::span<const TokenId> ids(ids_.data() + begin + done, static_cast<size_t>(now));
      INFER_TRY(step(ids, done + now == count));
    }
    return {};
  }

  Status step(std::span<const TokenId> ids, bool wants_logits) {
    const int count = static_cast<int>(ids.size());
    const model::SequenceSlice slice{&cache_, ids, wants_logits ? count - 1 : count, count};
    INFER_TRY(model_.run({{&slice, 1}}, call_));
    tokens_done_ += ids.size();
    if (progress_) progress_(tokens_done_, tokens_total_);
    return {};
  }

  TokenId best_token() const {
    const std::span<const float> logits = model_.logits(0);
    return static_cast<TokenId>(std::max_element(logits.begin(), logits.end()) - logits.begin());
  }

  model::Model& model_;
  const BenchSettings& settings_;
  const CallContext& call_;
  const BenchProgress& progress_;
  kv::SequenceCache cache_;
  std::vector<TokenId> ids_;
  uint64_t tokens_done_ = 0;
  uint64_t tokens_total_ = 0;
};

}  // namespace

Result<BenchResult> run_bench(model::Model& model, const BenchSettings& settings, const CallContext& call,
                              const BenchProgress& progress) {
  if (model.options().context < settings.context()) {
    return Error{ErrorCode::kInvalidArgument, format("bench needs a context of {} tokens, the model was loaded with {}",
                                                     settings.context(), model.options().context)};
  }
  return Bench(model, settings, call, progress).run();
}

}  // namespace infer::measure
