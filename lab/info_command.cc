#include <fmt/core.h>

#include <memory>

#include "lab/commands.h"
#include "lab/info.h"

namespace gradus::lab {

Command info_command(CLI::App& program) {
  const auto json = std::make_shared<bool>(false);
  CLI::App* app = program.add_subcommand("info", "What a bug report needs: build, processor, BLAS");
  app->add_flag("--json", *json, "As JSON");
  return {app, [json] {
            const nlohmann::ordered_json facts = info();
            fmt::print("{}\n", *json ? facts.dump(2) : to_text(facts));
            return 0;
          }};
}

}  // namespace gradus::lab
