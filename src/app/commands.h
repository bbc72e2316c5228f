// The subcommands: each does what its options say, prints to services.out(), and returns an error for main to report.
#pragma once

#include "app/command_line.h"
#include "app/services.h"
#include "base/result.h"

namespace infer::app {

Status run_command(const RunOptions& options, Services& services);
Status inspect_command(const InspectOptions& options, Services& services);
Status tokenize_command(const TokenizeOptions& options, Services& services);
Status perplexity_command(const PerplexityCommand& options, Services& services);
Status bench_command(const BenchOptions& options, Services& services);
Status make_model_command(const MakeModelOptions& options, Services& services);
Status batch_command(const BatchCommand& options, Services& services);
Status tune_command(const TuneCommand& options, Services& services);
Status ab_command(const AbCommand& options, Services& services);
Status serve_command(const ServeCommand& options, Services& services);

}  // namespace infer::app
