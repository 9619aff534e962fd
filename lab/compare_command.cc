#include <gradus/base/detail/named.h>
#include <gradus/base/file.h>
#include <gradus/tensor/runtime.h>
#include <gradus/version.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <memory>
#include <optional>

#include "lab/command.h"
#include "lab/compare_models.h"
#include "lab/compare_optimizers.h"
#include "lab/json_text.h"
#include "lab/progress.h"
#include "lab/report.h"
#include "lab/results_folder.h"

namespace gradus::lab {

namespace {

namespace fs = std::filesystem;

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
  ResultOptions results{.output = "gradus-compare"};
  std::string data_checksum = {};  // of the first seed's data, once they are read
  bool json = false, resume = false;
};

constexpr const char *kCheckpoint = "compare-unfinished.safetensors",
                     *kUnfinished = "compare-unfinished.json", *kSummary = "summary.json";
/// All that a comparison writes.
const std::vector<std::string>& files() {
  static const std::vector<std::string> names{kCheckpoint,   kUnfinished, kSummary,
                                              "metrics.csv", "curves.gp", "curves.svg"};
  return names;
}

fs::path in_folder(const Settings& settings, const std::string& name) {
  return fs::path(settings.results.output) / name;
}

/// Not, if its folder may not be entered.
bool is_there(const Settings& settings, const std::string& name) {
  std::error_code failure;
  return fs::is_regular_file(in_folder(settings, name), failure);
}

void remove(const Settings& settings, const std::vector<std::string>& names) {
  for (const std::string& name : names) remove_file(in_folder(settings, name).string());
}

nlohmann::ordered_json identity(const Settings& settings) {
  return to_json(settings.options, settings.data_checksum);
}

nlohmann::ordered_json summary_of(const Settings& settings, const std::vector<Run>& runs) {
  return to_json(settings.options, settings.data_checksum, runs);
}

/// The summary of a comparison that is over; null if there is none. What is there and not of these
/// options is an error.
nlohmann::ordered_json finished(const Settings& settings) {
  const fs::path file = in_folder(settings, kSummary);
  if (!is_there(settings, kSummary) || ::access(file.c_str(), R_OK) != 0) return {};
  auto summary = json_of_file(file.string());
  const auto what = [&](const char* key) {
    return summary.is_object() && summary.contains(key) ? json_text(summary[key], -1) : "";
  };
  const nlohmann::ordered_json version = GRADUS_VERSION;
  if (const std::string of = what("options"), now = json_text(identity(settings), -1);
      of != now || what("version") != json_text(version, -1))
    fail(
        "compare: {} holds the results of Gradus {}, {}, and this comparison is Gradus {}, {}; "
        "another --output, or --fresh in their place",
        settings.results.output, what("version"), of.empty() ? "options unknown" : of,
        json_text(version, -1), now);
  try {
    if (summary.contains("complete") && summary["complete"] == true &&
        !summaries_from(summary).empty())
      return summary;
  } catch (const Error&) {  // damaged: it is made anew
  }
  return {};
}

/// An error unless the unfinished comparison, whose options are `before`, is this one.
void check_same(const Settings& settings, const nlohmann::ordered_json& before,
                const nlohmann::ordered_json& now) {
  if (json_text(before) == json_text(now)) return;
  auto of_these_data = before;
  if (before.is_object() && before.contains("options") && before["options"].is_object())
    of_these_data["options"]["data_checksum"] = settings.data_checksum;
  check(json_text(of_these_data) != json_text(now),
        "compare: the data of {} are not those that the unfinished comparison in {} began with; "
        "--fresh begins anew",
        settings.options.data, settings.results.output);
  fail("compare: the unfinished comparison in {} is of {}, this one of {}", settings.results.output,
       before.is_discarded() ? "damaged options" : json_text(before, -1), json_text(now, -1));
}

bool is_unfinished(const Settings& settings) {
  return is_there(settings, kCheckpoint) && is_there(settings, kUnfinished);
}

/// Takes the folder and makes its checkpoint one of these options, or says why it cannot be.
/// Returns the summary where nothing is left to be done, and then takes no folder.
nlohmann::ordered_json enter(const Settings& settings, std::optional<ResultsFolder>& folder) {
  if (settings.resume && !is_unfinished(settings)) {
    if (auto summary = finished(settings); !summary.is_null()) {
      std::fprintf(stderr, "gradus: this comparison is over; these are its results in %s\n",
                   settings.results.output.c_str());
      return summary;
    }
  }
  folder.emplace(settings.results.output, files());
  const nlohmann::ordered_json now = {{"gradus", GRADUS_VERSION}, {"options", identity(settings)}};
  const std::string file = in_folder(settings, kUnfinished).string();
  const bool unfinished = is_unfinished(settings);
  check(!unfinished || settings.resume || settings.results.fresh,
        "compare: {} holds an unfinished comparison; --resume goes on with it, --fresh begins anew",
        settings.results.output);
  if (unfinished && settings.resume) {
    check_same(settings, json_of_file(file), now);
    return {};
  }
  if (!settings.results.fresh) finished(settings);  // results of other options stay
  remove(settings,
         settings.results.fresh ? files() : std::vector<std::string>{kCheckpoint, kUnfinished});
  write_file(file, [&](std::ostream& out) { out << json_text(now) << "\n"; });
  if (settings.resume)
    std::fprintf(stderr, "gradus: nothing is unfinished in %s; it begins\n",
                 settings.results.output.c_str());
  return {};
}

void print(const Settings& settings, const nlohmann::ordered_json& summary) {
  std::string shown;
  if (settings.json) {
    shown = json_text(summary) + "\n";
  } else {
    const std::vector<Summary> summaries = summaries_from(summary);
    for (const std::string& part : {table(summaries), findings(summaries)})
      if (!part.empty()) shown += part + "\n";
  }
  std::fputs(shown.c_str(), stdout);
  std::fflush(stdout);
}

void check_any_finished(const nlohmann::ordered_json& summary) {
  const std::vector<Summary> summaries = summaries_from(summary);
  check(
      std::any_of(summaries.begin(), summaries.end(), [](const Summary& s) { return s.runs > 0; }),
      "compare: every run diverged; use a smaller --lr");
}

/// The tables of the runs that have ended, without pictures of earlier ones.
void write_ended(const Settings& settings, const std::vector<Run>& runs) {
  remove(settings, {"curves.gp", "curves.svg"});
  write_tables(settings.results.output, summary_of(settings, runs), runs);
}

void tell_of_unfinished(const Run& run, int64_t epochs) {
  std::fprintf(stderr, "gradus: stopped in %s %s seed %d after %d of %d epochs", run.model.c_str(),
               run.norm.c_str(), static_cast<int>(run.seed), static_cast<int>(run.epochs.size()),
               static_cast<int>(epochs));
  if (!run.epochs.empty())
    std::fprintf(stderr, " (test accuracy %.2f %%); metrics.csv has them, the table has not",
                 100 * run.epochs.back().test_accuracy);
  std::fprintf(stderr, "\n");
}

int run(Settings& settings) {
  if (settings.results.threads > 0) set_threads(settings.results.threads);
  std::optional<ResultsFolder> folder;
  nlohmann::ordered_json known;
  std::signal(SIGPIPE, SIG_IGN);  // results are written even if nobody reads the table
  const std::vector<Run> runs = [&] {
    ProgressLine display;
    return compare(
        settings.options,
        [&](const Progress& p) {
          show(display, p);
          if (p.epoch_done && (p.current.finished || p.current.diverged_in != 0))
            write_ended(settings, p.all);
        },
        [] { return stopped_by() != 0; }, in_folder(settings, kCheckpoint).string(),
        [&](const std::string& data_checksum) {
          settings.data_checksum = data_checksum;
          known = enter(settings, folder);
          if (known.is_null()) stop_on_signals();  // from here on there is something to save
          return known.is_null();
        });
  }();
  if (!known.is_null()) {
    print(settings, known);
    check_any_finished(known);
    return 0;
  }
  const bool anything =
      std::any_of(runs.begin(), runs.end(), [](const Run& run) { return !run.epochs.empty(); });
  if (stopped_by() != 0 && !runs.empty() && !runs.back().finished)
    tell_of_unfinished(runs.back(), settings.options.epochs);
  if (!anything && stopped_by() != 0) {
    std::fprintf(stderr, "gradus: no epoch was done, so nothing is written\n");
    return 128 + stopped_by();
  }
  const nlohmann::ordered_json summary = summary_of(settings, runs);
  print(settings, summary);
  std::vector<std::string> lines = write_tables(settings.results.output, summary, runs);
  lines.push_back(write_picture(settings.results.output, runs));
  for (const std::string& line : lines)
    std::fprintf(settings.json ? stderr : stdout, "%s\n", line.c_str());
  if (stopped_by() != 0) {
    std::fprintf(stderr, "gradus: the same command with --resume goes on\n");
    return 128 + stopped_by();
  }
  remove(settings, {kCheckpoint, kUnfinished});
  check_any_finished(summary);
  return 0;
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

Results of runs that have ended are there at once. Ctrl-C stops the training and
reports what is done; a second Ctrl-C ends at once. However it ended, --resume
goes on after the last whole epoch, with the same results as without a break,
if the data are the same; of a comparison that is over it prints the results.
A folder with another comparison's results is left as it is, unless --fresh says
to replace them.
Where every run diverged the tables are written, and the code is 2.

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
  app.footer(footer() + "\n\n" + app.get_footer());
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
      ->transform(data_name)
      ->capture_default_str();
  CLI::Option* const fresh = add_result_options(app, settings->results);
  app.add_flag("--resume", settings->resume,
               "Go on with the unfinished comparison in the folder, with the same bits")
      ->excludes(fresh);
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
