// One subcommand of the command line while it is declared, and what several of them have in common.
//
// Values come as text and are converted here, so that every message has the same form; the first that is wrong is kept.
// Thread safety: one thread. Ownership: borrows the program and the options, which outlive it.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "app/command_line.h"
#include "app/flag_values.h"
#include "base/format.h"
#include "base/result.h"

namespace infer::app {

class Command {
 public:
  Command(CLI::App& program, const char* name, const char* does, const char* examples)
      : app_(program.add_subcommand(name, does)) {
    app_->footer(std::string("Examples:\n") + examples);
  }

  CLI::App* app() const { return app_; }
  const std::optional<Error>& error() const { return error_; }
  // The long names of the flags that were written.
  std::vector<std::string> given() const {
    std::vector<std::string> names;
    for (const CLI::Option* option : app_->get_options()) {
      if (option->count() > 0 && !option->get_lnames().empty()) names.push_back("--" + option->get_lnames().front());
    }
    return names;
  }

  CLI::Option* text(const char* names, std::string& target, const char* kind, const char* help) {
    return value(names, kind, help, [&target](const std::string& given) -> Status {
      target = given;
      return {};
    });
  }

  // A flag that may be given several times, with one text each.
  CLI::Option* texts(const char* names, std::vector<std::string>& target, const char* kind, const char* help) {
    return app_->add_option(names, target, help)->type_name(kind)->allow_extra_args(false);
  }

  template <class T>
  CLI::Option* number(const char* names, T& target, T least, T most, const char* help) {
    CLI::Option* option =
        value(names, std::is_integral_v<T> ? "N" : "X", help, [=, &target](const std::string& given) -> Status {
          const std::optional<T> parsed = parse_number<T>(given);
          if (parsed && *parsed >= least && *parsed <= most) {
            target = *parsed;
            return {};
          }
          return Error{ErrorCode::kInvalidArgument,
                       format(std::is_integral_v<T> ? "must be a whole number from {} to {}, not '{}'"
                                                    : "must be a number from {} to {}, not '{}'",
                              least, most, given)};
        });
    return option;
  }

  CLI::Option* flag(const char* names, bool& target, bool to, const char* help) {
    return app_->add_flag_callback(names, [&target, to] { target = to; }, help);
  }

  // `set` takes the text or says what is wrong with it; the flag's name is put in front.
  template <class Set>
  CLI::Option* value(const char* names, const char* kind, const char* help, const Set& set) {
    const std::string name = std::string(names).substr(std::string(names).rfind(',') + 1);
    const auto take = [this, name, set](const std::string& given) {
      Status status = set(given);
      if (!status && !error_) error_ = std::move(status).error().with_context(name);
    };
    CLI::Option* option = app_->add_option_function<std::string>(names, take, help);
    return option->type_name(kind)->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  }

 private:
  CLI::App* app_;
  std::optional<Error> error_;
};

inline constexpr int kContextMax = 1 << 24;
inline constexpr int kTokensMax = 1 << 24;

void add_model_choice(Command& command, ModelChoice& choice, bool with_context);
void add_deadline(Command& command, ModelChoice& choice);
void add_levels(Command& command, ModelChoice& choice);
void add_repack_cache(Command& command, ModelChoice& choice);
void add_tune(Command& command, TuneCommand& options);
void add_ab(Command& command, AbCommand& options);

}  // namespace infer::app
