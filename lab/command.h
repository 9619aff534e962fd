#pragma once
#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <vector>

#include "lab/result_options.h"

namespace gradus::lab {

/// A subcommand of the program, at namespace scope of its own file:
///
///   static Command hello_command("hello", "Greet someone", [](CLI::App& app) -> Command::Run {
///     const auto whom = std::make_shared<std::string>("world");
///     app.add_option("name", *whom, "Whom");
///     return [whom] {
///       fmt::print("hello, {}\n", *whom);
///       return 0;
///     };
///   });
///
/// Constructing it enters it in the list that the program reads.
struct Command {
  /// Does what the parsed options ask, and returns the exit code. What it throws is told: an Error
  /// is of what was asked for, code 2, a WriteError and others are of the system, code 1.
  using Run = std::function<int()>;
  /// Adds its options to the subcommand.
  using Setup = Run (*)(CLI::App& app);
  Command(const char* name, const char* summary, Setup setup);
  Command(const Command&) = delete;
  Command& operator=(const Command&) = delete;

  const char *name, *summary;
  Setup setup;
  const Command* next;
};

/// Adds --output, --threads and --fresh; returns the last.
CLI::Option* add_result_options(CLI::App& app, ResultOptions& options);

/// What --data names, written in one way: of a folder "i28", "./i28" and "i28/" are the first.
std::string data_name(const std::string& data);
/// A file's path that no program takes for an option, nor gnuplot for a command (<).
std::string path_argument(const std::string& path);
/// The same as a word of a command to be typed: quoted unless no shell takes its letters for
/// something else.
std::string shell_word(const std::string& path);

/// Sorted by name.
std::vector<const Command*> all_commands();

}  // namespace gradus::lab
