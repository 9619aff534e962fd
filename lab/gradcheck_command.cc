#include <gradus/autograd/gradcheck.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "lab/commands.h"

namespace gradus::lab {

namespace {

int run(const std::vector<std::string>& names, bool json) {
  nlohmann::ordered_json results = nlohmann::ordered_json::array();
  for (const std::string& name : names)
    check(find_op(name) != nullptr, "gradcheck: there is no op '{}'", name);
  bool ok = true;
  if (!json)
    fmt::print("{:<30} {:>8} {:>8} {:>14} {:>14}\n", "op", "samples", "entries", "first order",
               "second order");
  for (const Op* op : all_ops()) {
    const bool wanted =
        names.empty() || std::find(names.begin(), names.end(), op->name) != names.end();
    if (!wanted || !op->samples) continue;
    int64_t samples = 0, entries = 0;
    double first = 0, second = 0;
    std::vector<std::string> failures;
    for (const OpSample& sample : op->samples()) {
      const GradcheckReport a = gradcheck(sample.f, sample.inputs);
      const GradcheckReport b = gradgradcheck(sample.f, sample.inputs);
      ++samples;
      entries += a.entries + b.entries;
      first = std::max(first, a.largest_error);
      second = std::max(second, b.largest_error);
      for (const auto* report : {&a, &b})
        if (!report->ok()) failures.push_back(sample.label + ": " + report->text());
    }
    ok = ok && failures.empty();
    results.push_back({{"op", op->name},
                       {"samples", samples},
                       {"entries", entries},
                       {"first_order_error", first},
                       {"second_order_error", second},
                       {"failures", failures}});
    if (json) continue;
    fmt::print("{:<30} {:>8} {:>8} {:>14.1e} {:>14.1e}{}\n", op->name, samples, entries, first,
               second, failures.empty() ? "" : "  DISAGREES");
    for (const std::string& failure : failures) fmt::print("    {}\n", failure);
  }
  if (json) fmt::print("{}\n", results.dump(2));
  return ok ? 0 : 1;
}

struct Settings {
  std::vector<std::string> names;
  bool json = false;
};

}  // namespace

Command gradcheck_command(CLI::App& program) {
  const auto settings = std::make_shared<Settings>();
  CLI::App* app =
      program.add_subcommand("gradcheck", "Check every op's derivatives to second order");
  app->add_option("op", settings->names, "Only these ops");
  app->add_flag("--json", settings->json, "As JSON");
  return {app, [settings] { return run(settings->names, settings->json); }};
}

}  // namespace gradus::lab
