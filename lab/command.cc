#include "lab/command.h"

#include <gradus/base/detail/named.h>

namespace gradus::lab {

namespace {
constinit const Command* first_command = nullptr;
}

Command::Command(const char* command_name, const char* command_summary, Setup command_setup)
    : name(command_name), summary(command_summary), setup(command_setup), next(first_command) {
  first_command = this;
}

std::vector<const Command*> all_commands() { return detail::sorted_rows(first_command); }

}  // namespace gradus::lab
