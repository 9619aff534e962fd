#include <fmt/core.h>
#include <gradus/base/detail/named.h>
#include <unistd.h>

#include <memory>

#include "lab/command.h"
#include "lab/compare_models.h"
#include "lab/gradcheck.h"
#include "lab/json_text.h"

namespace gradus::lab {

namespace {

struct Options {
  GradcheckSettings settings;
  ModelSettings model;
  int order = 0;  // 0: both
  std::string mode = name(GradcheckMode::automatic);
  bool json = false;
};

int run(Options& options) {
  check(options.model.model.empty() || options.settings.names.empty(),
        "gradcheck: either names or --model");
  if (options.order != 0) options.settings.orders = {options.order};
  for (GradcheckMode mode : {GradcheckMode::full, GradcheckMode::projected})
    if (options.mode == name(mode)) options.settings.mode = mode;
  const bool live = ::isatty(STDERR_FILENO);
  std::vector<Checked> checked;
  if (!options.model.model.empty()) {
    checked.push_back(check_model(options.model, options.settings));
  } else {
    checked = check_samples(options.settings, [&](size_t i, size_t n, const std::string& name) {
      if (live) fmt::print(stderr, "\r\033[K[{}/{}] {}", i, n, name);
    });
    if (live) fmt::print(stderr, "\r\033[K");
  }
  if (options.json)
    fmt::print("{}\n", json_text(to_json(checked)));
  else
    fmt::print("{}\n", gradcheck_table(checked));
  for (const Checked& c : checked)
    if (!c.ok()) return 1;
  return 0;
}

Command::Run setup(CLI::App& app) {
  const auto options = std::make_shared<Options>();
  app.add_option("name", options->settings.names, "Only these ops and modules");
  app.add_option("--order", options->order, "1 or 2; both if not given")->check(CLI::Range(1, 2));
  app.add_option("--seed", options->settings.seed, "Of the random directions")
      ->capture_default_str();
  app.add_option("--mode", options->mode, "The full Jacobian or random directions")
      ->check(CLI::IsMember({"automatic", "full", "projected"}))
      ->capture_default_str();
  CLI::Option* model = app.add_option("--model", options->model.model,
                                      "Check this model's loss on digits, to first order")
                           ->check(CLI::IsMember(detail::names(all_models())));
  app.add_option("--norm", options->model.norm, "The model's normalization")
      ->check(CLI::IsMember(norm_names()))
      ->capture_default_str()
      ->needs(model);
  app.add_option("--weights", options->model.weights, "The model's weights, a safetensors file")
      ->check(CLI::ExistingFile)
      ->needs(model);
  app.add_flag("--json", options->json, "As JSON");
  return [options] { return run(*options); };
}

}  // namespace

static Command gradcheck_command(
    "gradcheck", "Check the derivatives of every op and module, or of a saved model", setup);

}  // namespace gradus::lab
