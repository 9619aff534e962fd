#include <fmt/core.h>

#include <memory>

#include "lab/command.h"
#include "lab/json_text.h"
#include "lab/weights.h"

namespace gradus::lab {

namespace {

struct Options {
  std::string file, other;
  bool json = false;
};

int run(const Options& options) {
  const bool one = options.other.empty();
  const nlohmann::ordered_json facts =
      one ? list_weights(options.file) : compare_weights(options.file, options.other);
  fmt::print("{}\n", options.json ? json_text(facts)
                     : one        ? weights_table(facts)
                                  : comparison_table(facts));
  return one || facts["equal"].get<bool>() ? 0 : 1;
}

Command::Run setup(CLI::App& app) {
  const auto options = std::make_shared<Options>();
  app.add_option("file", options->file, "A file of tensors: safetensors, npz, npy")->required();
  app.add_option("other", options->other,
                 "Another, to be compared with it; code 1 if they are not equal");
  app.add_flag("--json", options->json, "As JSON");
  return [options] { return run(*options); };
}

}  // namespace

static Command weights_command("weights", "What a file of weights holds, or what differs in two",
                               setup);

}  // namespace gradus::lab
