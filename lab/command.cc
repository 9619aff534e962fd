#include "lab/command.h"

#include <algorithm>
#include <string_view>

namespace gradus::lab {

namespace {
constinit const Command* first_command = nullptr;
}

Command::Command(const char* command_name, const char* command_summary, Setup command_setup)
    : name(command_name), summary(command_summary), setup(command_setup), next(first_command) {
  first_command = this;
}

std::vector<const Command*> all_commands() {
  std::vector<const Command*> commands;
  for (const Command* c = first_command; c; c = c->next) commands.push_back(c);
  std::sort(commands.begin(), commands.end(),
            [](const Command* a, const Command* b) { return std::string_view(a->name) < b->name; });
  return commands;
}

}  // namespace gradus::lab
