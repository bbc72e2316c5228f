// The words of the command line as plain structs: what each subcommand was asked to do.
//
// parse_command_line is the only place that knows flags. All values are checked against their ranges here; whether
// files exist is found out by the commands. Errors are kInvalidArgument and say what is allowed. Thread safety: pure
// function.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "kv/level_policy.h"
#include "sampling/sampler.h"

namespace infer::app {

// Which model and with how much of the machine; shared by all commands that load one.
struct ModelChoice {
  std::string path;                  // "": the embedded model.
  int threads = 0;                   // 0: one per physical core.
  int context = 0;                   // 0: the model's own, within the engine's default limit.
  uint64_t memory_limit_bytes = 0;   // 0: no limit but the machine's.
  std::optional<Duration> deadline;  // For the whole command.
  kv::LevelPolicy levels{};          // Of the KV cache.
  bool kv_floats = false;            // What is not lowered has 32 bits instead of 16.
  std::string spill_folder;          // Where it spills to; "": INFEROS_KV_SPILL, or the user's cache folder.
  uint64_t spill_limit_bytes = uint64_t{4} << 30;
  std::string prefix_folder;  // Of a server: where prefixes are kept beyond its end; "": nowhere.
  uint64_t prefix_limit_bytes = uint64_t{4} << 30;
  std::string draft_path;  // A small model that drafts answers; "": none.
  int draft_max = 15;      // Tokens of one draft, whoever makes it; 0: no drafts.
  bool kv_test = false;    // Test what the KV cache bears, even if it takes a while.

  // Where repacked weights are kept between starts.
  bool repack_cache = true;
  std::string repack_cache_folder;        // "": INFEROS_REPACK_CACHE, or the user's cache folder.
  uint64_t repack_cache_limit_bytes = 0;  // 0: the default.
};

// What --kv calls the cache.
std::string_view kv_name(const ModelChoice& choice);

struct TextChoice {
  std::optional<std::string> text;  // -p
  std::string file;                 // -f; "-" is standard input.
};

// What answers must look like; at most one of these. Texts are the grammar or schema itself, or the name of its file.
struct GrammarChoice {
  std::optional<std::string> gbnf;
  std::optional<std::string> json_schema;
  bool json_object = false;
};

struct RunOptions {
  ModelChoice model;
  TextChoice prompt;
  int tokens_max = -1;
  sampling::SamplingParams sampling;
  bool seed_given = false;
  std::vector<std::string> stops;
  GrammarChoice grammar;
  bool ignore_end_tokens = false;
  bool parse_special = false;
  bool interactive = false;
  std::optional<bool> chat;  // Absent: in a session, when the model has a chat template.
  std::string system;        // What the system message of a chat says; "": there is none.
  bool stream = true;
  bool json = false;
};

struct InspectOptions {
  ModelChoice model;
  bool metadata = false;
  bool tensors = false;
  bool json = false;
};

// How the input of `tokenize` is cut into texts.
enum class TextCut {
  kNone,   // It is one text.
  kLines,  // One per line.
  kNul,    // NUL-terminated.
  kJson,   // A JSON string per line.
};

struct TokenizeOptions {
  ModelChoice model;
  TextChoice text;
  TextCut each = TextCut::kNone;
  bool any_bytes = false;
  bool add_special = true;
  bool parse_special = false;
  bool ids_only = false;
  bool bench = false;
  bool json = false;
};

struct PerplexityCommand {
  ModelChoice model;
  std::string file;
  int context = 512;
  int chunks = -1;
  bool decode = false;
  bool divergence = false;
  bool json = false;
};

struct BenchOptions {
  ModelChoice model;
  int prompt_tokens = 512;
  int generated_tokens = 32;
  int depth = 0;
  int repetitions = 5;
  int sequences = 1;
  bool after_prompt = false;
  bool limits = false;
  bool json = false;
};

struct MakeModelOptions {
  std::string shape;
  std::string type = "q4_0";
  std::string path;
  uint64_t seed = 1;
  int context = 131072;
  bool json = false;
};

struct BatchCommand {
  ModelChoice model;
  std::string tasks;    // The file; "-" is standard input.
  std::string results;  // "": beside the tasks.
  bool fresh = false;   // Forget earlier results.
  int workers = 100;
  int parallel = 8;
  int tokens_max = 256;
  std::optional<Duration> task_deadline;
  bool staged = false;
  bool ignore_end_tokens = false;
  bool parse_special = false;
  sampling::SamplingParams sampling;
  bool seed_given = false;
  bool json = false;
};

struct ServeCommand {
  ModelChoice model;
  std::string config;              // A YAML file; "": none.
  std::string preset;              // Of the policy.
  std::vector<std::string> given;  // The flags that were written, by their long names: "--port".
  std::string host = "127.0.0.1";
  std::optional<int> port;                  // Absent: INFEROS_AGENT_PORT, or 7031; 0: a free one.
  std::optional<uint16_t> taken_over_port;  // That of the process before, which began anew.
  std::vector<std::string> aliases;         // Names by which clients may call the model, besides its own.
  int parallel = 8;
  Duration deadline = Duration::from_seconds(600);  // Of requests that name none.
  Duration drain = Duration::from_seconds(30);      // For requests under way when the server is to end.
  bool staged = false;
  bool verbose = false;
  bool log_content = false;
  sampling::SamplingParams sampling;  // What requests get where they say nothing.
  bool seed_given = false;
  bool json = false;
};

struct TuneCommand {
  ModelChoice model;
  std::string use;   // "chat", "batch", "quality"; "": none of them.
  std::string text;  // The file to measure on; "": the built-in text.
  std::optional<double> max_delta_ppl, least_speed, most_first_token_ms;
  std::vector<int> threads, sequences;  // To try; empty: by use and machine.
  int prompt_tokens = 256;
  int generated_tokens = 32;
  int trials_max = 0;  // 0: a fifth of all combinations.
  std::string output;  // A configuration file to write; "": none.
  std::string undo;    // One to bring back as it was.
  bool check = false;
  bool json = false;
};

struct AbCommand {
  ModelChoice model;
  std::string a, b;  // "kv.mode=q8,kv.recent_window=64"
  std::string text;
  int pairs = 20;
  int prompt_tokens = 256;
  int generated_tokens = 32;
  int sequences = 1;
  bool json = false;
};

// Help or a version: print it and leave.
struct ShowText {
  std::string text;
};

using Invocation = std::variant<ShowText, RunOptions, InspectOptions, TokenizeOptions, PerplexityCommand, BenchOptions,
                                MakeModelOptions, BatchCommand, ServeCommand, TuneCommand, AbCommand>;

Result<Invocation> parse_command_line(int argc, const char* const* argv);

// Whether an error of these arguments is to be printed as JSON too: they contain --json, whatever else is wrong.
bool wants_json(int argc, const char* const* argv);

}  // namespace infer::app
