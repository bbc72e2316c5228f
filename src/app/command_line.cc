#include "app/command_line.h"

#include <algorithm>
#include <limits>

#include "app/command_examples.h"
#include "app/declared_command.h"
#include "base/bytes.h"
#include "base/format.h"
#include "base/nearest_name.h"
#include "measure/synthetic_model.h"

namespace infer::app {
namespace {

constexpr int kSequencesMax = 1 << 12;

void add_text_choice(Command& command, TextChoice& choice, const char* what) {
  command.value("-p,--prompt", "TEXT", what, [&choice](const std::string& given) -> Status {
    choice.text = given;
    return {};
  });
  command.text("-f,--file", choice.file, "FILE", "take the text from a file (- is standard input)");
}

void add_sampling(Command& command, sampling::SamplingParams& sampling, bool& seed_given) {
  constexpr float kMax = 1e6f;
  constexpr int kIntMax = std::numeric_limits<int>::max();
  command.number("--temp,--temperature", sampling.temperature, 0.0f, kMax, "randomness; 0 takes the best token (0.8)");
  command.number("--top-k", sampling.top_k, 0, kIntMax, "choose among the best N; 0: all (40)");
  command.number("--top-p", sampling.top_p, 0.0f, 1.0f, "choose among the best that hold this probability (0.95)");
  command.number("--min-p", sampling.min_p, 0.0f, 1.0f, "least probability relative to the best (0.05)");
  command.number("--repeat-penalty", sampling.repeat_penalty, 1e-3f, kMax,
                 "divide logits of recent tokens by this (1)");
  command.number("--presence-penalty", sampling.presence_penalty, -kMax, kMax,
                 "subtract from tokens that occurred (0)");
  command.number("--frequency-penalty", sampling.frequency_penalty, -kMax, kMax, "subtract per occurrence (0)");
  command.number("--penalty-window", sampling.penalty_window, -1, kIntMax,
                 "last tokens that penalties see; -1: all (64)");
  command.value("--seed", "N", "makes the answer repeat (default: from the clock)",
                [&sampling, &seed_given](const std::string& given) -> Status {
                  const std::optional<uint64_t> seed = parse_number<uint64_t>(given);
                  if (!seed) {
                    return Error{ErrorCode::kInvalidArgument, format("must be a whole number from 0, not '{}'", given)};
                  }
                  sampling.seed = *seed;
                  seed_given = true;
                  return {};
                });
}

void add_drafts(Command& command, ModelChoice& model) {
  command.text("--draft,--model-draft", model.draft_path, "FILE",
               "a small GGUF model with the same vocabulary that guesses what answers say next; the model checks all "
               "guesses at once, and answers stay the same (none)");
  command.number("--draft-max", model.draft_max, 0, 63,
                 "most tokens that are guessed at a time, by the draft model or from the text itself; 0: none (15)");
}

void add_grammar(Command& command, GrammarChoice& choice) {
  const auto into = [](std::optional<std::string>& target) {
    return [&target](const std::string& given) -> Status {
      target = given;
      return {};
    };
  };
  command.value("--grammar", "FILE|TEXT", "answers follow this grammar (GBNF, as llama.cpp reads it)",
                into(choice.gbnf));
  command.value("--json-schema", "FILE|TEXT", "answers are JSON that this schema accepts", into(choice.json_schema));
  command.flag("--json-object", choice.json_object, true, "answers are a JSON object");
}

void add_run(Command& command, RunOptions& options) {
  add_model_choice(command, options.model, true);
  add_deadline(command, options.model);
  add_levels(command, options.model);
  add_repack_cache(command, options.model);
  add_drafts(command, options.model);
  add_text_choice(command, options.prompt, "the text to continue");
  command.number("-n,--tokens", options.tokens_max, -1, kTokensMax, "most tokens to generate; -1: until the end (-1)");
  add_sampling(command, options.sampling, options.seed_given);
  command.texts("--stop", options.stops, "TEXT", "end the answer before this text; may be given several times");
  add_grammar(command, options.grammar);
  command.flag("--ignore-eos", options.ignore_end_tokens, true, "go on after the model says that it is done");
  command.flag("--parse-special", options.parse_special, true, "read tokens like <|eos|> in the prompt as such");
  command.flag("-i,--interactive", options.interactive, true, "ask for prompts; /help there says more");
  command.value("--system", "TEXT", "the system message of a chat", [&options](const std::string& given) -> Status {
    options.system = given;
    if (!options.chat) options.chat = true;
    return {};
  });
  command.app()->add_flag_callback(
      "--chat", [&options] { options.chat = true; },
      "answer by the model's chat template (with --interactive: when the model has one)");
  command.app()->add_flag_callback("--no-chat", [&options] { options.chat = false; }, "continue the text as it is");
  command.flag("--no-stream", options.stream, false, "print the answer at its end, not as it grows");
  command.flag("--json", options.json, true, "print one JSON document with text, timings and sizes");
}

void add_inspect(Command& command, InspectOptions& options) {
  add_model_choice(command, options.model, true);
  add_deadline(command, options.model);
  command.text("FILE", options.model.path, "", "the model, instead of -m");
  command.flag("--metadata", options.metadata, true, "all metadata");
  command.flag("--kv-test", options.model.kv_test, true,
               "load the model and test what its KV cache bears at 8 and 4 bits");
  command.flag("--tensors", options.tensors, true, "all tensors");
  command.flag("--json", options.json, true, "print one JSON document");
}

void add_tokenize(Command& command, TokenizeOptions& options) {
  command.text("-m,--model", options.model.path, "FILE", "GGUF model or vocabulary; without it the embedded model's");
  add_text_choice(command, options.text, "the text (default: standard input)");
  command.flag("--no-special", options.add_special, false, "no token for the beginning and the end of the text");
  command.flag("--parse-special", options.parse_special, true, "read tokens like <|eos|> in the text as such");
  command.flag("--ids", options.ids_only, true, "ids only, on one line");
  command.value("--each", "line|nul|json",
                "many texts, each on a line, ended by a NUL byte, or a JSON string on a line; a line of ids for each",
                [&options](const std::string& given) -> Status {
                  if (given == "line") options.each = TextCut::kLines;
                  if (given == "nul") options.each = TextCut::kNul;
                  if (given == "json") options.each = TextCut::kJson;
                  if (options.each != TextCut::kNone) return {};
                  return Error{ErrorCode::kInvalidArgument, format("'{}' is unknown; one of line, nul, json", given)};
                });
  command.flag("--any-bytes", options.any_bytes, true, "take bytes that are not UTF-8 too");
  command.flag("--bench", options.bench, true, "measure the speed of encoding the text instead");
  command.flag("--json", options.json, true, "print one JSON document");
}

void add_perplexity(Command& command, PerplexityCommand& options) {
  add_model_choice(command, options.model, false);
  add_deadline(command, options.model);
  add_levels(command, options.model);
  add_repack_cache(command, options.model);
  command.text("-f,--file", options.file, "FILE", "the text to measure on (- is standard input)")->required();
  command.number("-c,--ctx", options.context, 4, kContextMax, "tokens of a window (512)");
  command.number("--chunks", options.chunks, -1, std::numeric_limits<int>::max(), "windows to measure; -1: all (-1)");
  command.flag("--decode", options.decode, true, "token by token, as in generating (slow)");
  command.flag("--kld", options.divergence, true,
               "compare with 16 bits at each position: divergence, same most likely token");
  command.flag("--json", options.json, true, "print one JSON document");
}

void add_bench(Command& command, BenchOptions& options) {
  add_model_choice(command, options.model, false);
  add_deadline(command, options.model);
  add_levels(command, options.model);
  add_repack_cache(command, options.model);
  command.number("--pp", options.prompt_tokens, 1, kTokensMax, "tokens of the prompt (512)");
  command.number("--tg", options.generated_tokens, 0, kTokensMax, "tokens to generate (32)");
  command.number("--depth", options.depth, 0, kTokensMax,
                 "tokens in the KV cache before the prompt, and again before generating (0)");
  command.number("--sequences", options.sequences, 1, kSequencesMax, "texts at once; speeds are of all together (1)");
  command.flag("--after-prompt", options.after_prompt, true, "generate behind the prompt, not behind --depth tokens");
  command.number("-r,--repetitions", options.repetitions, 1, 1000, "how often to measure (5)");
  command.flag("--limits", options.limits, true, "measure the machine too, and show the share of its limits reached");
  command.flag("--json", options.json, true, "print one JSON document");
}

void add_make_model(Command& command, MakeModelOptions& options) {
  command.text("OUT", options.path, "FILE", "the file to write")->required();
  const auto one_of = [](std::string& target, std::vector<std::string> names) {
    return [&target, names = std::move(names)](const std::string& given) -> Status {
      target = given;
      std::transform(target.begin(), target.end(), target.begin(),
                     [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
      std::string list;
      for (const std::string& name : names) {
        if (name == target) return {};
        list += (list.empty() ? "" : ", ") + name;
      }
      return Error{ErrorCode::kInvalidArgument, format("'{}' is unknown; one of {}", given, list)};
    };
  };
  command
      .value("--shape", "SHAPE", "llama-tiny, llama-1b, llama-3b or llama-8b",
             one_of(options.shape, measure::synthetic_shape_names()))
      ->required();
  command.value("--type", "TYPE", "type of the weights (q4_0)", one_of(options.type, measure::synthetic_type_names()));
  command.number("--seed", options.seed, uint64_t{0}, std::numeric_limits<uint64_t>::max(),
                 "of the random weights (1)");
  command.number("-c,--ctx", options.context, 4, kContextMax, "context length to write down (131072)");
  command.flag("--json", options.json, true, "print one JSON document");
}

void add_batch(Command& command, BatchCommand& options) {
  add_model_choice(command, options.model, true);
  add_deadline(command, options.model);
  add_levels(command, options.model);
  add_repack_cache(command, options.model);
  add_drafts(command, options.model);
  command.text("TASKS", options.tasks, "FILE", "tasks, a JSON object per line (- is standard input)")->required();
  command.text("-o,--output", options.results, "FILE", "where results go (TASKS with .results.jsonl at its end)");
  command.flag("--fresh", options.fresh, true, "forget earlier results; without it tasks that have one are left out");
  command.number("-w,--workers", options.workers, 1, 10000, "tasks that are under way at a time (100)");
  command.number("--parallel", options.parallel, 1, 256, "of those, how many compute at a time (8)");
  command.number("-n,--tokens", options.tokens_max, -1, kTokensMax,
                 "most tokens of an answer, where the task says nothing; -1: until the end (256)");
  command.value("--task-deadline", "TIME", "end each task by then, counted from its start: 30s, 500ms, 2m",
                [&options](const std::string& given) -> Status {
                  INFER_ASSIGN(options.task_deadline, parse_duration(given));
                  return {};
                });
  command.flag("--staged", options.staged, true,
               "where time gets short, go on with smaller settings: normal, light, minimal, emergency");
  add_sampling(command, options.sampling, options.seed_given);
  command.flag("--ignore-eos", options.ignore_end_tokens, true, "go on after the model says that it is done");
  command.flag("--parse-special", options.parse_special, true, "read tokens like <|eos|> in prompts as such");
  command.flag("--json", options.json, true, "print one JSON document with counts, speeds and times");
}

void add_serve(Command& command, ServeCommand& options) {
  add_model_choice(command, options.model, true);
  add_levels(command, options.model);
  add_repack_cache(command, options.model);
  command.text("--config", options.config, "FILE",
               "settings in YAML; the environment and flags win over it (docs/formats/config.md)");
  command.text("--preset", options.preset, "NAME",
               "a policy by the model's size (auto, small, medium, large) or use (chat, batch, quality)");
  command.text("--host", options.host, "ADDRESS",
               "where to listen (127.0.0.1); anything else needs the token for every request");
  command.value("--port", "N", "0: a free one (INFEROS_AGENT_PORT, or 7031; INFEROS_RANDOM_PORT=true: a free one)",
                [&options](const std::string& given) -> Status {
                  const std::optional<uint16_t> port = parse_number<uint16_t>(given);
                  if (!port) {
                    return Error{ErrorCode::kInvalidArgument,
                                 format("must be a whole number from 0 to 65535, not '{}'", given)};
                  }
                  options.port = *port;
                  return {};
                });
  command.texts("-a,--alias", options.aliases, "NAME", "another name of the model; may be given several times");
  command.number("--parallel", options.parallel, 1, 256, "how many requests compute at a time (8)");
  command.text("--prefix-cache", options.model.prefix_folder, "DIR",
               "keep the keys and values of texts there, so that a prompt that begins like an earlier one needs no "
               "computing after a restart either (nowhere)");
  command.value("--prefix-cache-limit", "SIZE", "most that it may take there (4GiB)",
                [&options](const std::string& given) -> Status {
                  INFER_ASSIGN(options.model.prefix_limit_bytes, parse_bytes(given));
                  return {};
                });
  add_drafts(command, options.model);
  const auto into = [](Duration& target) {
    return [&target](const std::string& given) -> Status {
      INFER_ASSIGN(target, parse_duration(given));
      return {};
    };
  };
  command.value("--deadline", "TIME", "end each request by then where it names no time itself (10m)",
                into(options.deadline));
  command.value("--drain", "TIME", "after Ctrl-C or SIGTERM, let requests under way go on for so long (30s)",
                into(options.drain));
  command.flag("--staged", options.staged, true,
               "where time gets short, go on with smaller settings: normal, light, minimal, emergency");
  add_sampling(command, options.sampling, options.seed_given);
  command.flag("-v,--verbose", options.verbose, true,
               "a line on standard error for each request, without its text, at log level info or debug");
  command.flag("--log-content", options.log_content, true,
               "the texts of requests and answers there too, which are else never logged");
  command.flag("--json", options.json, true, "print what is served as one JSON document");
}

// Everything that is declared for one parse; commands refer to the options beside them.
struct Grammar {
  CLI::App app{"Infer-OS: runs language models on this machine.", "inferos"};
  RunOptions run;
  InspectOptions inspect;
  TokenizeOptions tokenize;
  PerplexityCommand perplexity;
  BenchOptions bench;
  MakeModelOptions make_model;
  BatchCommand batch;
  ServeCommand serve;
  TuneCommand tune;
  AbCommand ab;
  std::vector<std::unique_ptr<Command>> commands;

  Grammar() {
    app.footer(kProgramExamples);
    app.set_version_flag("--version", INFEROS_VERSION);
    app.require_subcommand(1);
    add("run", "continue a text, or answer prompts", kRunExamples, [&](Command& c) { add_run(c, run); });
    add("serve", "answer clients of the OpenAI API", kServeExamples, [&](Command& c) { add_serve(c, serve); });
    add("inspect", "show what a model file holds and needs", kInspectExamples,
        [&](Command& c) { add_inspect(c, inspect); });
    add("tokenize", "show the tokens of a text", kTokenizeExamples, [&](Command& c) { add_tokenize(c, tokenize); });
    add("perplexity", "measure how well a model predicts a text", kPerplexityExamples,
        [&](Command& c) { add_perplexity(c, perplexity); });
    add("bench", "measure speed", kBenchExamples, [&](Command& c) { add_bench(c, bench); });
    add("batch", "run a file of tasks", kBatchExamples, [&](Command& c) { add_batch(c, batch); });
    add("tune", "find the fastest settings that keep the quality", kTuneExamples,
        [&](Command& c) { add_tune(c, tune); });
    add("ab", "compare two settings", kAbExamples, [&](Command& c) { add_ab(c, ab); });
    add("make-model", "write a model of random weights, for measurements", kMakeModelExamples,
        [&](Command& c) { add_make_model(c, make_model); });
  }

  template <class Declare>
  void add(const char* name, const char* does, const char* examples, Declare declare) {
    commands.push_back(std::make_unique<Command>(app, name, does, examples));
    declare(*commands.back());
  }

  std::vector<std::string> command_names() const {
    std::vector<std::string> names;
    for (const auto& command : commands) names.push_back(command->app()->get_name());
    return names;
  }

  // The chosen command; null when none was.
  const Command* chosen() const {
    for (const auto& command : commands) {
      if (command->app()->parsed()) return command.get();
    }
    return nullptr;
  }

  Invocation invocation(std::string_view name) {
    if (name == "run") return run;
    if (name == "inspect") return inspect;
    if (name == "tokenize") return tokenize;
    if (name == "perplexity") return perplexity;
    if (name == "bench") return bench;
    if (name == "batch") return batch;
    if (name == "tune") return tune;
    if (name == "ab") return ab;
    if (name == "serve") {
      serve.given = chosen()->given();
      return serve;
    }
    return make_model;
  }
};

Error usage_error(std::string message) { return Error{ErrorCode::kInvalidArgument, std::move(message)}; }

std::string did_you_mean(std::string_view word, const std::vector<std::string>& names) {
  const std::string nearest = nearest_name(word, names);
  return nearest.empty() ? "" : format(" (did you mean {}?)", nearest);
}

// What CLI11 found wrong, in our words.
Error explain(const Grammar& grammar, const CLI::ParseError& error) {
  const Command* command = grammar.chosen();
  if (!command) return usage_error(format("{}; see inferos --help", error.what()));
  const std::string name = command->app()->get_name();
  const std::vector<std::string> left = command->app()->remaining();
  if (!left.empty()) {
    std::vector<std::string> flags;
    for (const CLI::Option* option : command->app()->get_options()) {
      for (const std::string& flag : option->get_lnames()) flags.push_back("--" + flag);
    }
    const std::string& word = left.front();
    return usage_error(
        format("{}: unexpected argument '{}'{}; see inferos {} --help", name, word, did_you_mean(word, flags), name));
  }
  return usage_error(format("{}: {}; see inferos {} --help", name, error.what(), name));
}

Status check_together(const RunOptions& options) {
  if (options.prompt.text && !options.prompt.file.empty())
    return usage_error("run: --prompt and --file exclude each other");
  for (const std::string& stop : options.stops) {
    if (stop.empty()) return usage_error("run: --stop: must not be empty");
  }
  const GrammarChoice& grammar = options.grammar;
  if (int{grammar.gbnf.has_value()} + int{grammar.json_schema.has_value()} + int{grammar.json_object} > 1)
    return usage_error("run: --grammar, --json-schema and --json-object exclude each other");
  if (options.ignore_end_tokens && (grammar.gbnf || grammar.json_schema || grammar.json_object))
    return usage_error("run: --ignore-eos and a grammar exclude each other: the answer ends where the grammar says");
  if (options.interactive && options.json) return usage_error("run: --interactive and --json exclude each other");
  if (!options.system.empty() && options.chat == false)
    return usage_error("run: --system and --no-chat exclude each other");
  return {};
}

Status check_together(const TokenizeOptions& options) {
  if (options.text.text && !options.text.file.empty())
    return usage_error("tokenize: --prompt and --file exclude each other");
  if (options.bench && options.each != TextCut::kNone)
    return usage_error("tokenize: --bench measures one text; leave --each out");
  return {};
}

}  // namespace

std::string_view kv_name(const ModelChoice& choice) {
  return choice.kv_floats && choice.levels.mode == kv::KvMode::kF16 ? "f32" : kv::mode_name(choice.levels.mode);
}

Result<Invocation> parse_command_line(int argc, const char* const* argv) {
  Grammar grammar;
  if (argc < 2) return Invocation(ShowText{grammar.app.help()});
  const std::string first = argv[1];
  const std::vector<std::string> names = grammar.command_names();
  if (first.substr(0, 1) != "-" && std::find(names.begin(), names.end(), first) == names.end()) {
    return usage_error(format("unknown command '{}'{}; inferos --help lists them", first, did_you_mean(first, names)));
  }
  try {
    grammar.app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    const Command* command = grammar.chosen();
    return Invocation(ShowText{command ? command->app()->help("inferos") : grammar.app.help()});
  } catch (const CLI::CallForVersion&) {
    return Invocation(ShowText{std::string("inferos ") + INFEROS_VERSION + "\n"});
  } catch (const CLI::ParseError& error) {
    return explain(grammar, error);
  }
  const Command* command = grammar.chosen();
  if (!command) return usage_error("no command given; inferos --help lists them");
  const std::string name = command->app()->get_name();
  if (command->error()) return Error(*command->error()).with_context(name);
  INFER_TRY(check_together(grammar.run));
  INFER_TRY(check_together(grammar.tokenize));
  return grammar.invocation(name);
}

bool wants_json(int argc, const char* const* argv) {
  for (int i = 1; i < argc; ++i) {
    if (std::string_view(argv[i]) == "--json") return true;
  }
  return false;
}

}  // namespace infer::app
