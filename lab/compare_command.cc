#include <gradus/base/detail/named.h>
#include <gradus/tensor/runtime.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <memory>

#include "lab/command.h"
#include "lab/compare_models.h"
#include "lab/compare_optimizers.h"
#include "lab/report.h"

namespace gradus::lab {

namespace {

std::atomic<int> stopped_by{0};  // a signal's number

/// The first signal stops the training; a second one ends the program as usual.
void stop_on_signals() {
  struct sigaction action {};
  action.sa_handler = [](int signal) { stopped_by = signal; };
  action.sa_flags = SA_RESTART | static_cast<int>(SA_RESETHAND);
  for (int signal : {SIGINT, SIGTERM, SIGHUP}) ::sigaction(signal, &action, nullptr);
}

std::string duration(double seconds) {
  const auto s = static_cast<int64_t>(std::llround(seconds));
  if (s < 120) return fmt::format("{} s", s);
  if (s < 7200) return fmt::format("{} min", (s + 59) / 60);
  return fmt::format("{} h {} min", s / 3600, s % 3600 / 60);
}

/// Progress on stderr: one line that changes on a terminal; elsewhere a line at the end of each run
/// and, where epochs are long, between.
class Display {
 public:
  void show(const Progress& p) {
    const bool run_done = p.epoch_done && (p.epoch == p.epochs || p.current.diverged_in != 0);
    const std::chrono::duration<double> since = Clock::now() - last_;
    if (live_ ? since.count() < 0.1 : !run_done && !(p.epoch_done && since.count() > 10)) return;
    last_ = Clock::now();
    std::string line = fmt::format("[{}/{}, {} left] {} {} seed {}  epoch {}/{}", p.run, p.runs,
                                   duration(p.seconds_left), p.current.model, p.current.norm,
                                   p.current.seed, p.epoch, p.epochs);
    if (p.current.diverged_in != 0)
      line += "  diverged";
    else
      line += fmt::format("  loss {:.4f}", p.loss);
    if (!p.current.epochs.empty())
      line += fmt::format("  accuracy {:.2f} %", 100 * p.current.epochs.back().test_accuracy);
    if (live_)
      std::fprintf(stderr, "\r%s\033[K", line.substr(0, columns() - 1).c_str());
    else
      std::fprintf(stderr, "%s\n", line.c_str());
  }
  ~Display() {
    if (live_) std::fprintf(stderr, "\r\033[K");
  }

 private:
  using Clock = std::chrono::steady_clock;

  static bool on_terminal() {
    const char* type = std::getenv("TERM");
    return ::isatty(STDERR_FILENO) && type && std::string(type) != "dumb";
  }
  static size_t columns() {
    winsize size{};
    return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col : 80;
  }

  const bool live_ = on_terminal();
  Clock::time_point last_ = Clock::now() - std::chrono::milliseconds(100);  // draw the first
};

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
    Display display;
    return compare(
        settings.options, [&](const Progress& p) { display.show(p); },
        [] { return stopped_by != 0; });
  }();
  const bool anything =
      std::any_of(runs.begin(), runs.end(), [](const Run& run) { return !run.epochs.empty(); });
  if (stopped_by != 0 && !runs.empty() && !runs.back().finished)
    tell_of_unfinished(runs.back(), settings.options.epochs);
  if (!anything) {
    check(stopped_by != 0, "compare: every run diverged in its first epoch; use a smaller --lr");
    std::fprintf(stderr, "gradus: no epoch was done, so nothing is written\n");
    return 128 + stopped_by;
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
  return stopped_by != 0 ? 128 + stopped_by : 0;
}

constexpr const char* kTraining = R"(
Within a seed all runs share the split into training and test images, the
initial values of equally named parameters, and the batches. The learning rate
rises over the first epoch, then falls along half a cosine.
)";

constexpr const char* kResults = R"(
The table, a row for each norm:
  test accuracy %  after the last epoch, mean +- deviation over seeds
  vs none          points gained over the first norm on average over seeds, and
                   in how many seeds there was a gain
  test loss        cross entropy after the last epoch, mean over seeds
  loss             training loss, mean over the last epoch
  epochs to 95%    until the test accuracy was 95 % for the first time
  gap              accuracy with statistics of the test batches themselves minus
                   that with the running ones (norms that depend on the batch)
  ms/step          median time of a training step
  parameters       how many numbers are trained

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
  app.add_option("--epochs", o.epochs, "Passes over the training images")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  app.add_option("--batch-size", o.batch_size, "Images a step")
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
