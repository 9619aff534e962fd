#include <gradus/base/file.h>
#include <gradus/version.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>

#include "lab/command.h"

namespace {

using namespace gradus::lab;

constexpr const char* kExitCodes =
    R"(Exit codes: 0 done; 1 a check failed, or the system does not let it be done (a
folder that cannot be written to); 2 wrong options or data; 128 and its number
stopped by a signal, 130 by Ctrl-C.)";

/// Results that nobody got are a failure: a full disk, a closed descriptor.
int checked(int code) {
  if (std::fflush(stdout) == 0 && !std::ferror(stdout)) return code;
  std::fprintf(stderr, "gradus: standard output cannot be written: %s\n", std::strerror(errno));
  return code == 0 ? 1 : code;
}

int failed(const std::exception& error, int code) {
  std::fprintf(stderr, "gradus: %s\n", error.what());
  return code;
}

/// An option that takes something is given something: nothing would be taken for 0, or for no name.
void refuse_empty_values(CLI::App& command) {
  for (CLI::Option* option : command.get_options())
    if (option->get_items_expected_max() > 0)
      option->check([](const std::string& value) { return value.empty() ? "it is empty" : ""; },
                    "");
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGXFSZ, SIG_IGN);  // then a file that grows too large is an error like any other
  CLI::App program{
      "Gradus: automatic differentiation for small models; Batch against Layer Normalization"};
  program.require_subcommand(0, 1);
  program.footer(kExitCodes);  // which the commands take over
  program.set_version_flag("--version", GRADUS_VERSION);
  program.failure_message([](const CLI::App*, const CLI::Error& error) {
    return std::string("gradus: ") + error.what() + " (see --help)\n";
  });
  std::vector<std::pair<const CLI::App*, Command::Run>> commands;
  for (const Command* command : all_commands()) {
    CLI::App* app = program.add_subcommand(command->name, command->summary);
    commands.emplace_back(app, command->setup(*app));
    refuse_empty_values(*app);
  }
  try {
    program.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return checked(program.exit(error) == 0 ? 0 : 2);
  }
  try {
    for (const auto& [app, run] : commands)
      if (*app) return checked(run());
    std::fputs(program.help().c_str(), stderr);
  } catch (const gradus::WriteError& error) {
    return failed(error, 1);
  } catch (const gradus::Error& error) {
    return failed(error, 2);
  } catch (const std::exception& error) {  // the system's: no memory, a folder that cannot be read
    return failed(error, 1);
  }
  return 2;
}
