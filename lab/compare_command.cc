#include <gradus/base/detail/named.h>
#include <gradus/tensor/runtime.h>

#include <csignal>
#include <memory>

#include "lab/command.h"
#include "lab/compare_models.h"
#include "lab/compare_optimizers.h"
#include "lab/progress.h"
#include "lab/report.h"

namespace gradus::lab {

namespace {

void show(ProgressLine& display, const Progress& p) {
  const bool run_done = p.epoch_done && (p.epoch == p.epochs || p.current.diverged_in != 0);
  if (!display.due(run_done, p.epoch_done)) return;
  std::string line = fmt::format("[{}/{}, {} left] {} {} seed {}  epoch {}/{}", p.run, p.runs,
                                 duration(p.seconds_left), p.current.model, p.current.norm,
                                 p.current.seed, p.epoch, p.epochs);
  if (p.current.diverged_in != 0)
    line += "  diverged";
  else
    line += fmt::format("  loss {:.4f}", p.loss);
  if (!p.current.epochs.empty())
    line += fmt::format("  accuracy {:.2f} %", 100 * p.current.epochs.back().test_accuracy);
  display.show(line);
}

struct Settings {
  CompareOptions options;
  std::string output = "gradus-compare";
  int threads = 0;
  bool json = false;
};

void tell_of_unfinished(const Run& run, int64_t epochs) {
  std::fprintf(stderr, "gradus: stopped in %s %s seed %d after %d of %d epochs", run.model.c_str(),
               run.norm.c_str(), static_cast<int>(run.seed), static_cast<int>(run.epochs.size()),
               static_cast<int>(epochs));
  if (!run.epochs.empty())
    std::fprintf(stderr, " (test accuracy %.2f %%); metrics.csv has them, the table has not",
                 100 * run.epochs.back().test_accuracy);
  std::fprintf(stderr, "\n");
}

int run(const Settings& settings) {
  if (settings.threads > 0) set_threads(settings.threads);
  prepare_folder(settings.output);
  stop_on_signals();
  std::signal(SIGPIPE, SIG_IGN);  // results are written even if nobody reads the table
  const std::vector<Run> runs = [&] {
    ProgressLine display;
    return compare(
        settings.options, [&](const Progress& p) { show(display, p); },
        [] { return stopped_by() != 0; });
  }();
  const bool anything =
      std::any_of(runs.begin(), runs.end(), [](const Run& run) { return !run.epochs.empty(); });
  if (stopped_by() != 0 && !runs.empty() && !runs.back().finished)
    tell_of_unfinished(runs.back(), settings.options.epochs);
  if (!anything) {
    check(stopped_by() != 0, "compare: every run diverged in its first epoch; use a smaller --lr");
    std::fprintf(stderr, "gradus: no epoch was done, so nothing is written\n");
    return 128 + stopped_by();
  }
  const std::vector<Summary> summaries = summarize(runs);
  std::string shown;
  if (settings.json)
    shown = to_json(settings.options, runs).dump(2) + "\n";
  else
    for (const std::string& part : {table(summaries), findings(summaries)})
      if (!part.empty()) shown += part + "\n";
  std::fputs(shown.c_str(), stdout);
  std::fflush(stdout);
  for (const std::string& line : write_results(settings.output, settings.options, runs))
    std::fprintf(settings.json ? stderr : stdout, "%s\n", line.c_str());
  return stopped_by() != 0 ? 128 + stopped_by() : 0;
}

constexpr const char* kTraining = R"(
Within a seed all runs share the split into training and test data (that of the
vowels, and of a folder, is the published one and the same in every seed), the
initial values of equally named parameters, and the batches. The learning rate
rises over the first epoch, then falls along half a cosine.
)";

constexpr const char* kResults = R"(
The table, a row for each norm:
  test accuracy %  after the last epoch, mean +- deviation over seeds
  vs none          points gained over the first of --norms on average over seeds,
                   and in how many seeds there was a gain
  test loss        cross entropy after the last epoch, mean over seeds
  loss             training loss, mean over the last epoch
  epochs to 95%    until the test accuracy was 95 % for the first time
  gap              accuracy with statistics of the test batches themselves minus
                   that with the running ones (norms that depend on the batch)
  ms/step          median time of a training step
  parameters       how many numbers are trained

Below it is said which differences the seeds tell from 0: by 95 % intervals that
are paired by seed and, where splits are redrawn, widened for their overlap
(Nadeau & Bengio 2003). One seed tells none, and nothing here is a verdict on a
norm, for all share one learning rate: `gradus lab` tunes each one's.

The output folder gets metrics.csv (a row for each run and epoch), summary.json,
curves.gp and, drawn from it by gnuplot, curves.svg.

Ctrl-C stops the training and reports what is done; a second Ctrl-C ends at once.
Exit codes: 0 done, 2 wrong input, 130 stopped by Ctrl-C.

  gradus compare --models cnn --norms none,batch --seeds 10
  gradus compare --models mlp --data /usr/share/datasets/fashion-mnist --epochs 3)";

std::string footer() {
  std::string text = kTraining + 1;
  for (const ModelRow& model : all_models())
    if (model.augment) text += fmt::format("The {} is shown {}.\n", model.name, model.augmentation);
  return text + kResults;
}

Command::Run setup(CLI::App& app) {
  const auto settings = std::make_shared<Settings>();
  CompareOptions& o = settings->options;
  app.footer(footer());
  CLI::Option* const models = app.add_option("--models", o.models, "Which models");
  models->delimiter(',')->check(CLI::IsMember(detail::names(all_models())))->capture_default_str();
  app.add_option("--norms", o.norms, "Which normalizations")
      ->delimiter(',')
      ->check(CLI::IsMember(norm_names()))
      ->capture_default_str();
  app.add_option("--seeds", o.seeds, "How many seeds, from 1")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  app.add_option("--epochs", o.epochs, "Passes over the training data")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  app.add_option("--batch-size", o.batch_size, "Items a step")
      ->check(CLI::Range(2, 1000000))
      ->capture_default_str();
  app.add_option("--lr", o.lr, "Largest learning rate")->capture_default_str();
  app.add_option("--optimizer", o.optimizer, "Update rule")
      ->check(CLI::IsMember(detail::names(all_optimizers())))
      ->capture_default_str();
  app.add_option("--data", o.data,
                 "'digits', 'vowels' (sequences: rnn, transformer), or a folder with MNIST's four "
                 "IDX files, gzipped or not")
      ->capture_default_str();
  app.add_option("--threads", settings->threads,
                 "Threads; 0: one a core; results do not depend on it")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  app.add_option("--output", settings->output, "Folder for the results")->capture_default_str();
  app.add_flag("--json", settings->json, "Print the summary as JSON instead of the table");
  return [settings, models] {
    CompareOptions& chosen = settings->options;
    if (chosen.data == "vowels" && models->count() == 0) {
      std::fprintf(stderr, "gradus: the vowels are sequences: without cnn, which reads images\n");
      std::erase_if(chosen.models,
                    [](const std::string& name) { return !find_model(name).reads_sequences(); });
    }
    return run(*settings);
  };
}

}  // namespace

static Command compare_command(
    "compare", "Train the same models with no normalization, BatchNorm and LayerNorm", setup);

}  // namespace gradus::lab
