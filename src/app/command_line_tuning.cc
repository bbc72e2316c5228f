// The flags of tune and ab.
#include "app/declared_command.h"

#include <algorithm>

namespace infer::app {

namespace {

constexpr int kListMax = 16;

// "1,2,4"
Result<std::vector<int>> parse_list(const std::string& given, int most) {
  std::vector<int> numbers;
  for (size_t begin = 0; begin <= given.size();) {
    const size_t end = std::min(given.find(',', begin), given.size());
    const std::optional<int> number = parse_number<int>(given.substr(begin, end - begin));
    if (!number || *number < 1 || *number > most || numbers.size() == kListMax) {
      return Error{
          ErrorCode::kInvalidArgument,
          format("must be at most {} whole numbers from 1 to {}, like 1,2,4, not '{}'", kListMax, most, given)};
    }
    numbers.push_back(*number);
    begin = end + 1;
  }
  return numbers;
}

void add_list(Command& command, const char* names, std::vector<int>& list, int most, const char* help) {
  command.value(names, "N,N,..", help, [&list, most](const std::string& given) -> Status {
    INFER_ASSIGN(list, parse_list(given, most));
    return {};
  });
}

void add_limit(Command& command, const char* names, std::optional<double>& limit, double most, const char* help) {
  command.value(names, "X", help, [&limit, most](const std::string& given) -> Status {
    const std::optional<double> number = parse_number<double>(given);
    if (!number || !(*number >= 0) || *number > most) {
      return Error{ErrorCode::kInvalidArgument, format("must be a number from 0 to {}, not '{}'", most, given)};
    }
    limit = *number;
    return {};
  });
}

void add_work(Command& command, std::string& text, int& prompt, int& generated) {
  command.text("-f,--file", text, "FILE", "the text to measure on (the built-in one)");
  command.number("--pp", prompt, 64, kTokensMax, "tokens of each prompt (256)");
  command.number("-n,--tokens", generated, 8, kTokensMax, "tokens decoded behind it (32)");
}

}  // namespace

void add_tune(Command& command, TuneCommand& options) {
  add_model_choice(command, options.model, false);
  add_deadline(command, options.model);
  add_repack_cache(command, options.model);
  command.value("--use", "NAME",
                "what for: chat (one answer at a time, limit 0.3), batch (as many as help, 0.5), quality (one, 0.1)",
                [&options](const std::string& given) -> Status {
                  options.use = given;
                  if (given == "chat" || given == "batch" || given == "quality") return {};
                  return Error{ErrorCode::kInvalidArgument,
                               format("'{}' is unknown; one of chat, batch, quality", given)};
                });
  add_limit(command, "--max-delta-ppl", options.max_delta_ppl, 2, "perplexity that settings may cost (0.5)");
  add_limit(command, "--least-speed", options.least_speed, 1e6, "tokens/s that each answer must have (none)");
  add_limit(command, "--most-first-token", options.most_first_token_ms, 1e9,
            "milliseconds that a prompt may take (none)");
  add_list(command, "--try-threads", options.threads, 256, "numbers of threads to try (all cores, half of them)");
  add_list(command, "--try-parallel", options.sequences, 256, "answers at once to try (1; for batch 8, 4, 2, 1)");
  add_work(command, options.text, options.prompt_tokens, options.generated_tokens);
  command.number("--trials", options.trials_max, 8, 100'000, "most trials (a fifth of all combinations)");
  command.text("-o,--output", options.output, "FILE",
               "write the settings there, for serve --config; what was there "
               "before is kept as FILE.before");
  command.text("--undo", options.undo, "FILE", "bring FILE back as it was before, and do nothing else");
  command.flag("--check", options.check, true, "measure all combinations too, and say how far from their best this is");
  command.flag("--json", options.json, true, "print one JSON document");
}

void add_ab(Command& command, AbCommand& options) {
  command.text("A", options.a, "SETTINGS", "like kv.mode=q8,kv.recent_window=64 (keys of docs/formats/config.md)")
      ->required();
  command.text("B", options.b, "SETTINGS", "what it is compared with")->required();
  add_model_choice(command, options.model, false);
  add_deadline(command, options.model);
  add_repack_cache(command, options.model);
  command.number("--pairs", options.pairs, 4, 10'000, "how often each is measured (20)");
  command.number("--parallel", options.sequences, 1, 256, "answers at once (1)");
  add_work(command, options.text, options.prompt_tokens, options.generated_tokens);
  command.flag("--json", options.json, true, "print one JSON document");
}

}  // namespace infer::app
