#include "measure/bench.h"

#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "base/check.h"
#include "base/format.h"
#include "base/hash.h"
#include "base/rng.h"
#include "kernels/kernel_table.h"
#include "sampling/sampler.h"

namespace infer::measure {
namespace {

constexpr uint64_t kPromptSeed = 42;

class Bench {
 public:
  Bench(model::Model& model, const BenchSettings& settings, const CallContext& call, const BenchProgress& progress)
      : model_(model), settings_(settings), call_(call), progress_(progress) {
    const auto vocabulary = static_cast<uint32_t>(model.config().vocabulary);
    for (int s = 0; s < settings.sequences; ++s) {
      sequences_.push_back(Sequence{model.make_sequence(), {}, std::vector<float>(vocabulary), 0});
      std::vector<TokenId>& ids = sequences_.back().ids;
      Rng rng(kPromptSeed + static_cast<uint64_t>(s));
      ids.resize(static_cast<size_t>(settings.depth + settings.prompt_tokens));
      for (TokenId& id : ids) id = static_cast<TokenId>(rng.below(vocabulary));
    }
    slices_.reserve(sequences_.size());
    const auto per_repetition = static_cast<uint64_t>(settings.prompt_tokens + settings.generated_tokens) *
                                static_cast<uint64_t>(settings.sequences);
    tokens_total_ = static_cast<uint64_t>(std::min(settings.depth, settings.computed_depth_max)) +
                    per_repetition * static_cast<uint64_t>(settings.repetitions + 1);
  }

  Result<BenchResult> run(const BenchPause& pause) {
    INFER_ASSIGN(greedy_, sampling::Sampler::make({.temperature = 0}, model_.config().vocabulary, 1));
    if (settings_.depth > 0) INFER_TRY(fill_depth());
    BenchResult result;
    std::vector<double> prefill, decode, prompt_seconds;
    const double sequences = settings_.sequences;
    for (int repetition = 0; repetition <= settings_.repetitions; ++repetition) {
      if (repetition > 0 && pause) INFER_TRY(pause());
      INFER_ASSIGN(const Repetition one, repeat());
      if (repetition == 0) {  // Warm-up: caches, page faults, clocks.
        result.output_hash = one.hash;
        continue;
      }
      // The warm-up itself lowered pages before the mark: only what comes after it starts from the same state.
      if (repetition == 1 && model_.options().levels.mode != kv::KvMode::kF16) result.output_hash = one.hash;
      // A tiered cache knows more with each repetition, and may choose other levels.
      if (one.hash != result.output_hash && !kv::is_tiered(model_.options().levels.mode)) {
        return Error{ErrorCode::kInternal, format("bench: repetition {} gave {:016x}, the first gave {:016x}: the same "
                                                  "input must give the same output; please report this",
                                                  repetition, one.hash, result.output_hash)};
      }
      prompt_seconds.push_back(one.prefill_seconds);
      prefill.push_back(sequences * settings_.prompt_tokens / std::max(one.prefill_seconds, 1e-9));
      if (settings_.generated_tokens > 0) {
        decode.push_back(sequences * settings_.generated_tokens / std::max(one.decode_seconds, 1e-9));
      }
    }
    result.prefill_tokens_per_second = summarize(prefill);
    result.decode_tokens_per_second = summarize(decode);
    result.time_to_first_token = Duration::from_seconds(summarize(prompt_seconds).median);
    for (const Sequence& sequence : sequences_) {
      result.kv_bytes += sequence.cache.kv_bytes();
      result.kv_bytes_f16 += sequence.cache.kv_bytes_f16();
    }
    result.prefill =
        prefill_cost(model_, settings_.sequences, settings_.prompt_tokens, settings_.depth, kv_share(result));
    result.decode_step = decode_step_cost(model_, settings_.sequences,
                                          settings_.decode_depth() + settings_.generated_tokens / 2, kv_share(result));
    return result;
  }

 private:
  struct Sequence {
    kv::SequenceCache cache;
    std::vector<TokenId> ids;   // What lies in the cache before, then the prompt.
    std::vector<float> logits;  // Behind the ids that were computed last.
    TokenId next;               // The best token of the last step.
  };
  struct Repetition {
    double prefill_seconds = 0;
    double decode_seconds = 0;
    uint64_t hash = 0;
  };

  Result<Repetition> repeat() {
    Repetition result;
    Instant start = call_.clock.now();
    INFER_TRY(feed(sequences_, settings_.depth, settings_.prompt_tokens));
    result.prefill_seconds = (call_.clock.now() - start).seconds();
    result.hash = kHashSeed;
    for (Sequence& sequence : sequences_) {
      result.hash = hash_bytes(sequence.logits.data(), sequence.logits.size() * sizeof(float), result.hash);
      sequence.next = best_token(sequence.logits);
    }

    if (!settings_.after_prompt) rewind();
    start = call_.clock.now();
    for (int i = 0; i < settings_.generated_tokens; ++i) {
      for (const Sequence& sequence : sequences_) {
        result.hash = hash_bytes(&sequence.next, sizeof(sequence.next), result.hash);
      }
      INFER_TRY(decode_step());
    }
    result.decode_seconds = (call_.clock.now() - start).seconds();
    if (settings_.generated_tokens > 0) rewind();
    return result;
  }

  // What the KV cache takes of what bare halves would take; at 16 bits that is the measure.
  double kv_share(const BenchResult& result) const {
    if (model_.options().levels.mode == kv::KvMode::kF16 || result.kv_bytes_f16 == 0) return 1.0;
    return static_cast<double>(result.kv_bytes) / static_cast<double>(result.kv_bytes_f16);
  }

  void rewind() {
    for (Sequence& sequence : sequences_) sequence.cache.truncate(settings_.depth);
  }

  Status fill_depth() {
    const int computed = std::min(settings_.depth, settings_.computed_depth_max);
    // Pages are copied at 16 bits; what they get of the attention is seen all the same.
    kv::LevelPolicy lowering_nothing = model_.options().levels;
    lowering_nothing.recent_window = settings_.depth;
    for (Sequence& sequence : sequences_) sequence.cache.set_policy(lowering_nothing);
    INFER_TRY(feed(std::span<Sequence>(sequences_).first(1), 0, computed));
    const kv::SequenceCache& source = sequences_.front().cache;
    for (Sequence& sequence : sequences_) {
      if (sequence.cache.length() == settings_.depth) continue;
      INFER_TRY(call_.check("filling the KV cache"));
      INFER_TRY(copy_pages(source, computed, sequence.cache));
    }
    for (Sequence& sequence : sequences_) {
      sequence.cache.set_mark();
      sequence.cache.set_policy(model_.options().levels);
      sequence.cache.apply_policy(model_.kernels(), call_.clock.now());
    }
    return {};
  }

  // Fills `cache` up to the depth with what the `computed` tokens of `source` (perhaps itself) have, again and again.
  Status copy_pages(const kv::SequenceCache& source, int computed, kv::SequenceCache& cache) {
    const auto page_count = static_cast<size_t>(kv::pages_for_tokens(computed));
    const size_t page_bytes = model_.page_pool().shape().page_bytes(kv::Level::k16);
    for (int have = cache.length(); have < settings_.depth; have = cache.length()) {
      const int part = std::min(model_.options().tokens_per_step, settings_.depth - have);
      INFER_TRY(cache.reserve(part));
      for (int layer = 0; layer < cache.layers(); ++layer) {
        const std::span<const kv::PageId> pages = cache.pages(layer), from = source.pages(layer);
        for (size_t p = static_cast<size_t>(have / kernels::kPageTokens); p < pages.size(); ++p) {
          size_t filled = p % page_count;  // Or what a window left of the source: its last pages.
          while (from[filled] == kv::kNoPage) ++filled;
          if (pages[p] == from[filled]) continue;
          std::memcpy(cache.writable_part(layer, static_cast<int>(p), 0),
                      source.part(layer, static_cast<int>(filled), 0).full, page_bytes);
        }
      }
      cache.commit(part);
    }
    return {};
  }

  // Computes ids [begin, begin + count) of each sequence, one after the other, in steps as large as the model takes.
  // Leaves the logits behind the last ids.
  Status feed(std::span<Sequence> sequences, int begin, int count) {
    const int step_max = model_.options().tokens_per_step;
    size_t first = 0;  // The first sequence that is not done, and how many of its tokens are.
    int done = 0;
    while (first < sequences.size()) {
      slices_.clear();
      const size_t step_first = first;
      for (int room = step_max; room > 0 && first < sequences.size();) {
        const int now = std::min(room, count - done);
        const bool last = done + now == count;
        Sequence& sequence = sequences[first];
        slices_.push_back({&sequence.cache,
                           std::span(sequence.ids).subspan(static_cast<size_t>(begin + done), static_cast<size_t>(now)),
                           last ? now - 1 : now, now});
        room -= now;
        done = last ? 0 : done + now;
        first += last ? 1 : 0;
      }
      INFER_TRY(step());
      int row = 0;
      for (size_t s = step_first; s < first; ++s) {
        const std::span<const float> logits = model_.logits(row++);
        std::copy(logits.begin(), logits.end(), sequences[s].logits.begin());
      }
    }
    return {};
  }

  Status decode_step() {
    slices_.clear();
    for (Sequence& sequence : sequences_) slices_.push_back({&sequence.cache, {&sequence.next, 1}, 0, 1});
    INFER_TRY(step());
    int row = 0;
    for (Sequence& sequence : sequences_) sequence.next = best_token(model_.logits(row++));
    return {};
  }

  // Runs slices_.
  Status step() {
    INFER_TRY(model_.run({slices_}, call_));
    for (const model::SequenceSlice& slice : slices_) tokens_done_ += slice.tokens.size();
    if (progress_) progress_(tokens_done_, tokens_total_);
    return {};
  }

  TokenId best_token(std::span<const float> logits) { return greedy_->sample(logits); }

  model::Model& model_;
  const BenchSettings& settings_;
  const CallContext& call_;
  const BenchProgress& progress_;
  std::unique_ptr<sampling::Sampler> greedy_;
  std::vector<Sequence> sequences_;
  std::vector<model::SequenceSlice> slices_;  // Of the step that is being made.
  uint64_t tokens_done_ = 0;
  uint64_t tokens_total_ = 0;
};

}  // namespace

Result<BenchResult> run_bench(model::Model& model, const BenchSettings& settings, const CallContext& call,
                              const BenchProgress& progress, const BenchPause& pause) {
  INFER_CHECK(settings.computed_depth_max > 0 && settings.computed_depth_max % kernels::kPageTokens == 0);
  const model::ModelOptions& options = model.options();
  if (options.context < settings.context()) {
    return Error{ErrorCode::kInvalidArgument, format("bench needs a context of {} tokens, the model was loaded with {}",
                                                     settings.context(), options.context)};
  }
  const int room = std::min({options.sequences, options.logits_per_step, options.tokens_per_step});
  if (settings.sequences < 1 || settings.sequences > room) {
    return Error{ErrorCode::kInvalidArgument,
                 format("bench of {} sequences: the model was loaded for 1 to {} at once", settings.sequences, room)};
  }
  return Bench(model, settings, call, progress).run(pause);
}

}  // namespace infer::measure
