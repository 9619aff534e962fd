#pragma once
#include <CLI/CLI.hpp>
#include <functional>

namespace gradus::lab {

/// A subcommand of the program: `run` does what its parsed options ask, and returns the exit code.
struct Command {
  CLI::App* app;
  std::function<int()> run;
};

Command compare_command(CLI::App& program);
Command gradcheck_command(CLI::App& program);
Command info_command(CLI::App& program);

}  // namespace gradus::lab
