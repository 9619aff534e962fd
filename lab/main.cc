#include <gradus/autograd/gradcheck.h>
#include <gradus/tensor/kernels/threads.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <csignal>

#include "lab/info.h"
#include "lab/report.h"

namespace gradus::lab {
namespace {

std::atomic<bool> interrupted{false};

struct CompareCommand {
  CompareOptions options;
  std::string output = "gradus-compare";
  int threads = 0;
  bool json = false;
};

void show(const Progress& p, bool live) {
  const EpochMetrics& e = p.current.epochs.back();
  const std::string line = fmt::format(
      "[{}/{}] {} {} seed {}  epoch {}/{}  loss {:.4f}  accuracy {:.2f} %  {:.0f} s left", p.run,
      p.runs, p.current.model, p.current.norm, p.current.seed, p.epoch, p.epochs, e.train_loss,
      100 * e.test_accuracy, p.seconds_left);
  if (live)
    std::fprintf(stderr, "\r\033[K%s", line.c_str());
  else if (p.epoch == p.epochs)
    std::fprintf(stderr, "%s\n", line.c_str());
}

int run(const CompareCommand& command) {
  if (command.threads > 0) set_threads(command.threads);
  prepare_folder(command.output);
  std::signal(SIGINT, [](int) { interrupted = true; });
  const bool live = ::isatty(STDERR_FILENO);
  const std::vector<Run> runs = compare(
      command.options, [&](const Progress& p) { show(p, live); },
      [] { return interrupted.load(); });
  if (live) std::fprintf(stderr, "\r\033[K");
  if (interrupted) std::fprintf(stderr, "interrupted: what is done so far follows\n");
  const auto lines = write_results(command.output, command.options, runs);
  if (command.json) {
    fmt::print("{}\n", to_json(command.options, runs).dump(2));
  } else {
    fmt::print("{}\n", table(summarize(runs)));
    for (const std::string& line : lines) fmt::print("{}\n", line);
  }
  return interrupted ? 130 : 0;
}

int run_gradcheck(const std::vector<std::string>& names, bool json) {
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

int main(int argc, char** argv) {
  CLI::App app{
      "Gradus: automatic differentiation for small models; Batch against Layer Normalization"};
  app.require_subcommand(1);

  CompareCommand compare_command;
  CompareOptions& o = compare_command.options;
  CLI::App* compare = app.add_subcommand(
      "compare", "Train the same models with no normalization, BatchNorm and LayerNorm");
  compare->add_option("--models", o.models, "Which models")
      ->delimiter(',')
      ->check(CLI::IsMember(model_names()))
      ->capture_default_str();
  compare->add_option("--norms", o.norms, "Which normalizations")
      ->delimiter(',')
      ->check(CLI::IsMember({"none", "batch", "layer"}))
      ->capture_default_str();
  compare->add_option("--seeds", o.seeds, "How many seeds, from 1")->capture_default_str();
  compare->add_option("--epochs", o.epochs, "Passes over the training images")
      ->capture_default_str();
  compare->add_option("--batch-size", o.batch_size, "Images a step")->capture_default_str();
  compare
      ->add_option("--lr", o.lr,
                   "Learning rate after one epoch of warm-up; then down along a cosine")
      ->capture_default_str();
  compare->add_option("--optimizer", o.optimizer, "Update rule")
      ->check(CLI::IsMember(optimizer_names()))
      ->capture_default_str();
  compare->add_option("--data", o.data, "'digits', or a folder with MNIST's four IDX files")
      ->capture_default_str();
  compare->add_option("--threads", compare_command.threads, "Threads; 0: one a core")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  compare->add_option("--output", compare_command.output, "Folder for metrics, summary and curves")
      ->capture_default_str();
  compare->add_flag("--json", compare_command.json, "Print the summary as JSON");

  bool info_json = false;
  CLI::App* info_command =
      app.add_subcommand("info", "What a bug report needs: build, processor, BLAS");
  info_command->add_flag("--json", info_json, "As JSON");

  std::vector<std::string> names;
  bool gradcheck_json = false;
  CLI::App* gradcheck_command =
      app.add_subcommand("gradcheck", "Check every op's derivatives to second order");
  gradcheck_command->add_option("op", names, "Only these ops");
  gradcheck_command->add_flag("--json", gradcheck_json, "As JSON");

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  try {
    if (*compare) return run(compare_command);
    if (*gradcheck_command) return run_gradcheck(names, gradcheck_json);
    const nlohmann::ordered_json facts = info();
    fmt::print("{}\n", info_json ? facts.dump(2) : to_text(facts));
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "gradus: %s\n", error.what());
    return 2;
  }
}

}  // namespace
}  // namespace gradus::lab

int main(int argc, char** argv) { return gradus::lab::main(argc, argv); }
