#include <fmt/format.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <functional>
#include <memory>

#include "lab/command.h"
#include "lab/json_text.h"
#include "lab/page/page.h"
#include "lab/progress.h"
#include "lab/study/lab.h"
#include "lab/study/pilot.h"
#include "lab/study/tuning.h"

namespace gradus::lab {

namespace {

struct Settings {
  LabOptions options;
  bool list = false, json = false, tune = false, pilot = false;
};

void list() {
  for (const Experiment* experiment : all_experiments())
    fmt::print("{:<18} {:>4.0f} s  {}\n", experiment->name, experiment->seconds,
               experiment->question);
}

std::string line_of(const LabProgress& p) {
  const std::string done = p.kept ? "is there already" : fmt::format("{}/{}", p.jobs_done, p.jobs);
  return fmt::format("[{}/{}, {} left] {}  {}", p.number, p.experiments, duration(p.seconds_left),
                     p.experiment.name, done);
}

std::string summary(const LabResult& result, const StudyOptions& options) {
  std::string text;
  if (options.data != "digits") text += fmt::format("Images: {}.\n", images_note(options));
  for (const StatementVerdict& v : result.statements) {
    text += fmt::format("{}. {}\n   {}{}{}\n", v.statement->number, v.statement->text,
                        name(v.verdict), v.parts.empty() ? "" : fmt::format(" ({})", v.parts),
                        v.complete ? "" : ", of those experiments that were run");
    for (const Finding& finding : result.findings)
      if (finding.endpoint->statement == v.statement->number)
        text += fmt::format("   - {}: {}\n", finding.endpoint->name, finding.sentence);
  }
  return text;
}

int tune(const LabOptions& options, const std::function<bool()>& stop) {
  const auto begin = std::chrono::steady_clock::now();
  {
    ProgressLine display;
    tune_all(
        options,
        [&](const std::string& line) {
          if (display.due(true, true)) display.show(line);
        },
        stop);
  }
  if (stop()) return 128 + stopped_by();
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  const auto path = std::filesystem::absolute(options.results.output) / "rates.csv";
  fmt::print("{}, after {}; lab/study/rates.csv is the one that the program is built with\n",
             path.lexically_normal().string(), duration(took.count()));
  return 0;
}

int run(const Settings& settings) {
  if (settings.list) {
    list();
    return 0;
  }
  stop_on_signals();
  std::signal(SIGPIPE, SIG_IGN);  // results are written even if nobody reads the statements
  const auto stop = [] { return stopped_by() != 0; };
  if (!settings.options.rates.empty()) read_tuned_rates(settings.options.rates);
  if (settings.tune) return tune(settings.options, stop);
  const auto shown = [&](const auto& runner) {
    ProgressLine display;
    return runner(
        settings.options,
        [&](const LabProgress& p) {
          if (display.due(p.kept || p.jobs_done == p.jobs, true)) display.show(line_of(p));
        },
        stop);
  };
  if (settings.pilot) {
    shown(run_pilot);
    return stop() ? 128 + stopped_by() : 0;
  }
  const LabResult result = shown(run_lab);
  for (const std::string& line : result.left_out)
    std::fprintf(stderr, "gradus: %s\n", line.c_str());
  if (settings.json)
    fmt::print("{}\n", json_text(to_json(result.findings)));
  else
    std::fputs(summary(result, settings.options.study).c_str(), stdout);
  std::fflush(stdout);
  if (result.stopped) {
    std::fprintf(stderr, "gradus: stopped; what has ended is in %s and is not run again\n",
                 settings.options.results.output.c_str());
    return 128 + stopped_by();
  }
  for (const std::string& line :
       write_page(settings.options.results.output, settings.options.study, result))
    std::fprintf(stderr, "gradus: %s\n", line.c_str());
  const auto path = std::filesystem::absolute(settings.options.results.output) / "report.html";
  fmt::print(settings.json ? stderr : stdout, "{}\n", path.lexically_normal().string());
  return 0;
}

Command::Run setup(CLI::App& app) {
  const auto settings = std::make_shared<Settings>();
  LabOptions& o = settings->options;
  app.add_option("names", o.names, "Experiments (see --list); none: all");
  app.add_flag("--list", settings->list, "Name the experiments, what each takes and asks");
  app.add_option("--seeds", o.study.seeds, "How many seeds; those of context take half of them")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_option("--first-seed", o.study.first_seed, "The first of them")->capture_default_str();
  app.add_option(
         "--data", o.study.data,
         "'digits', or a folder with MNIST's four IDX files, for the image experiments; those "
         "of more than 16 pixels a side are averaged over rectangles")
      ->transform(data_name)
      ->capture_default_str();
  app.add_option("--rates", o.rates,
                 "A rates.csv of --tune, in place of the program's own: with --data, one that was "
                 "tuned on these images");
  add_result_options(app, o.results);
  app.add_flag("--json", settings->json, "Print the endpoints as JSON instead of the statements");
  app.add_flag(
      "--tune", settings->tune,
      "Choose the learning rates anew, on validation data and other seeds, into rates.csv");
  app.add_flag("--pilot", settings->pilot,
               "Run with seeds of its own, from which the number of seeds follows, into pilot.csv")
      ->excludes("--seeds")
      ->excludes("--first-seed")
      ->excludes("--tune");
  return [settings] { return run(*settings); };
}

}  // namespace

static Command lab_command("lab", "Show what Batch and Layer Normalization do, with verdicts",
                           setup);

}  // namespace gradus::lab
