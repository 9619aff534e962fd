#include <gradus/tensor/kernels/threads.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <memory>

#include "lab/commands.h"
#include "lab/report.h"

namespace gradus::lab {

namespace {

std::atomic<bool> interrupted{false};

struct Settings {
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

int run(const Settings& settings) {
  if (settings.threads > 0) set_threads(settings.threads);
  prepare_folder(settings.output);
  std::signal(SIGINT, [](int) { interrupted = true; });
  const bool live = ::isatty(STDERR_FILENO);
  const std::vector<Run> runs = compare(
      settings.options, [&](const Progress& p) { show(p, live); },
      [] { return interrupted.load(); });
  if (live) std::fprintf(stderr, "\r\033[K");
  if (interrupted) std::fprintf(stderr, "interrupted: what is done so far follows\n");
  const auto lines = write_results(settings.output, settings.options, runs);
  if (settings.json) {
    fmt::print("{}\n", to_json(settings.options, runs).dump(2));
  } else {
    fmt::print("{}\n", table(summarize(runs)));
    for (const std::string& line : lines) fmt::print("{}\n", line);
  }
  return interrupted ? 130 : 0;
}

}  // namespace

Command compare_command(CLI::App& program) {
  const auto settings = std::make_shared<Settings>();
  CompareOptions& o = settings->options;
  CLI::App* app = program.add_subcommand(
      "compare", "Train the same models with no normalization, BatchNorm and LayerNorm");
  app->add_option("--models", o.models, "Which models")
      ->delimiter(',')
      ->check(CLI::IsMember(model_names()))
      ->capture_default_str();
  app->add_option("--norms", o.norms, "Which normalizations")
      ->delimiter(',')
      ->check(CLI::IsMember({"none", "batch", "layer"}))
      ->capture_default_str();
  app->add_option("--seeds", o.seeds, "How many seeds, from 1")->capture_default_str();
  app->add_option("--epochs", o.epochs, "Passes over the training images")->capture_default_str();
  app->add_option("--batch-size", o.batch_size, "Images a step")->capture_default_str();
  app->add_option("--lr", o.lr,
                  "Learning rate after one epoch of warm-up; then down along a cosine")
      ->capture_default_str();
  app->add_option("--optimizer", o.optimizer, "Update rule")
      ->check(CLI::IsMember(optimizer_names()))
      ->capture_default_str();
  app->add_option("--data", o.data, "'digits', or a folder with MNIST's four IDX files")
      ->capture_default_str();
  app->add_option("--threads", settings->threads, "Threads; 0: one a core")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  app->add_option("--output", settings->output, "Folder for metrics, summary and curves")
      ->capture_default_str();
  app->add_flag("--json", settings->json, "Print the summary as JSON");
  return {app, [settings] { return run(*settings); }};
}

}  // namespace gradus::lab
