#include <gradus/version.h>

#include <cstdio>

#include "lab/command.h"

int main(int argc, char** argv) {
  using namespace gradus::lab;
  CLI::App program{
      "Gradus: automatic differentiation for small models; Batch against Layer Normalization"};
  program.require_subcommand(0, 1);
  program.set_version_flag("--version", GRADUS_VERSION);
  program.failure_message([](const CLI::App*, const CLI::Error& error) {
    return std::string("gradus: ") + error.what() + " (see --help)\n";
  });
  std::vector<std::pair<const CLI::App*, Command::Run>> commands;
  for (const Command* command : all_commands()) {
    CLI::App* app = program.add_subcommand(command->name, command->summary);
    commands.emplace_back(app, command->setup(*app));
  }
  try {
    program.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return program.exit(error) == 0 ? 0 : 2;
  }
  try {
    for (const auto& [app, run] : commands)
      if (*app) return run();
    std::fputs(program.help().c_str(), stderr);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "gradus: %s\n", error.what());
  }
  return 2;
}
