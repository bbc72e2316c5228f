// The examples at the end of each command's help.
#pragma once

namespace infer::app {

inline constexpr const char* kServeExamples =
    "  inferos serve                                      the embedded model on http://127.0.0.1:7031\n"
    "  inferos serve -m model.gguf --ctx 8192 --parallel 4\n"
    "  inferos serve -m model.gguf --alias gpt-4o-mini    for clients that insist on a name\n"
    "  inferos serve --config inferos.yaml                settings of a file (docs/formats/config.md)\n"
    "  INFEROS_RANDOM_PORT=true inferos serve --json      for scripts";
inline constexpr const char* kTuneExamples =
    "  inferos tune                                       the embedded model, one answer at a time\n"
    "  inferos tune -m model.gguf --use batch -o tuned.yaml\n"
    "  inferos serve --config tuned.yaml                  with what was found\n"
    "  inferos tune --undo tuned.yaml                     back to the file before";
inline constexpr const char* kAbExamples =
    "  inferos ab kv.mode=disabled kv.mode=dynamic\n"
    "  inferos ab -m model.gguf preset=chat preset=batch --pairs 50\n"
    "  inferos ab kv.mode=q8 kv.mode=q4,kv.recent_window=128 --json";
inline constexpr const char* kBatchExamples =
    "  inferos batch tasks.jsonl                          results go to tasks.results.jsonl\n"
    "  inferos batch tasks.jsonl --task-deadline 30s -n 64\n"
    "  inferos batch tasks.jsonl -o out.jsonl --json      repeat it: only what is missing runs";
inline constexpr const char* kRunExamples =
    "  inferos run -p \"Once upon a time\" -n 64            the embedded model goes on\n"
    "  inferos run -m model.gguf -f prompt.txt --temp 0   the most probable answer to a file\n"
    "  inferos run -m model.gguf --interactive            ask as often as you like\n"
    "  inferos run -m model.gguf --chat --system \"Be brief.\" -p \"Why is the sky blue?\"\n"
    "  inferos run -p \"The king\" --json | jq .text        for scripts";
inline constexpr const char* kInspectExamples =
    "  inferos inspect model.gguf                       what it is and what it will take\n"
    "  inferos inspect model.gguf --ctx 32768           with a long context\n"
    "  inferos inspect model.gguf --metadata --tensors  everything in the file";
inline constexpr const char* kTokenizeExamples =
    "  inferos tokenize -p \"Hello world\"           ids and their text\n"
    "  inferos tokenize -m model.gguf -f a.txt --ids\n"
    "  echo -n text | inferos tokenize --json\n"
    "  inferos tokenize -f lines.txt --each line    a line of ids for each line\n"
    "  inferos tokenize -f book.txt --bench         how fast it is";
inline constexpr const char* kPerplexityExamples =
    "  inferos perplexity -m model.gguf -f test.txt\n"
    "  inferos perplexity -m model.gguf -f test.txt --ctx 1024 --chunks 10 --json\n"
    "  inferos perplexity -m model.gguf -f test.txt --ctx 2048 --kv q8 --kld";
inline constexpr const char* kBenchExamples =
    "  inferos bench -m model.gguf                      512 tokens in, 32 out\n"
    "  inferos bench -m model.gguf --depth 8192 --tg 16 with a full cache\n"
    "  inferos bench -m model.gguf --sequences 8        eight texts at once\n"
    "  inferos bench -m model.gguf --limits             against what the machine can do";
inline constexpr const char* kMakeModelExamples =
    "  inferos make-model --shape llama-1b --type q4_0 bench.gguf\n"
    "  inferos make-model --shape llama-tiny --type f32 tiny.gguf --seed 7";
inline constexpr const char* kProgramExamples =
    "Examples:\n"
    "  inferos run -p \"Once upon a time\" -n 64   let the embedded model tell a story\n"
    "  inferos run -m model.gguf --interactive   talk to a model of your own\n"
    "  inferos serve                             for clients of the OpenAI API, on http://127.0.0.1:7031\n"
    "  inferos inspect model.gguf                what is in it, what it will take\n"
    "  inferos COMMAND --help                    options and examples of a command";

}  // namespace infer::app
