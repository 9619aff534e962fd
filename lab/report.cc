#include "lab/report.h"

#include <gradus/tensor/error.h>
#include <gradus/tensor/file.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>

namespace gradus::lab {

namespace {

namespace fs = std::filesystem;

std::string csv(const std::vector<Run>& runs) {
  std::string text =
      "model,norm,seed,epoch,train_loss,test_accuracy,test_accuracy_batch_stats,step_ms,"
      "parameters\n";
  for (const Run& run : runs)
    for (const EpochMetrics& e : run.epochs)
      text += fmt::format("{},{},{},{},{:.6g},{:.6g},{:.6g},{:.4g},{}\n", run.model, run.norm,
                          run.seed, e.epoch, e.train_loss, e.test_accuracy,
                          e.test_accuracy_batch_stats, run.step_ms, run.parameters);
  return text;
}

std::vector<std::string> names_of(const std::vector<Run>& runs, std::string Run::*member) {
  std::vector<std::string> names;
  for (const Run& run : runs)
    if (std::find(names.begin(), names.end(), run.*member) == names.end())
      names.push_back(run.*member);
  return names;
}

/// Mean over the seeds of a metric after each epoch, as a gnuplot data block.
std::string curve(const std::vector<Run>& runs, const std::string& model, const std::string& norm,
                  double EpochMetrics::*metric) {
  std::vector<double> sums;
  std::vector<int> counts;
  for (const Run& run : runs) {
    if (run.model != model || run.norm != norm) continue;
    for (size_t e = 0; e < run.epochs.size(); ++e) {
      if (e == sums.size()) {
        sums.push_back(0);
        counts.push_back(0);
      }
      sums[e] += run.epochs[e].*metric;
      ++counts[e];
    }
  }
  std::string text;
  for (size_t e = 0; e < sums.size(); ++e)
    text += fmt::format("{} {:.6g}\n", e + 1, sums[e] / counts[e]);
  return text.empty() ? "1 nan\ne\n" : text + "e\n";
}

std::string gnuplot_script(const fs::path& picture, const std::vector<Run>& runs) {
  const auto models = names_of(runs, &Run::model), norms = names_of(runs, &Run::norm);
  std::string text = fmt::format(
      "set terminal svg size {},640 font 'sans,13' background 'white'\nset output '{}'\n"
      "set multiplot layout 2,{}\nset grid\nset key bottom right\nset xlabel 'epoch'\n",
      400 * models.size(), picture.string(), models.size());
  struct Row {
    const char *label, *extra;
    double EpochMetrics::*metric;
  };
  for (const Row& row :
       {Row{"training loss", "set logscale y; set format y '%g'; set key top right\n",
            &EpochMetrics::train_loss},
        Row{"test accuracy", "unset logscale y; set yrange [0.5:1]; set key bottom right\n",
            &EpochMetrics::test_accuracy}}) {
    text += row.extra;
    for (const std::string& model : models) {
      text += fmt::format("set title '{}'\nset ylabel '{}'\nplot ", model, row.label);
      for (size_t i = 0; i < norms.size(); ++i)
        text += fmt::format("{}'-' with lines linewidth 2 title '{}'", i ? ", " : "", norms[i]);
      text += "\n";
      for (const std::string& norm : norms) text += curve(runs, model, norm, row.metric);
    }
  }
  return text + "unset multiplot\n";
}

/// Whether gnuplot drew it.
bool draw(const fs::path& picture, const std::vector<Run>& runs) {
  const fs::path partial = picture.string() + ".partial";
  FILE* gnuplot = ::popen("gnuplot 2>/dev/null", "w");
  if (!gnuplot) return false;
  const std::string script = gnuplot_script(partial, runs);
  std::fwrite(script.data(), 1, script.size(), gnuplot);
  const bool drawn = ::pclose(gnuplot) == 0 && fs::exists(partial);
  if (drawn) fs::rename(partial, picture);
  return drawn;
}

}  // namespace

std::vector<Summary> summarize(const std::vector<Run>& runs) {
  std::vector<Summary> summaries;
  for (const std::string& model : names_of(runs, &Run::model)) {
    for (const std::string& norm : names_of(runs, &Run::norm)) {
      Summary s{model, norm, 0, 0, 0, 0, 0, 0, 0, 0, 0};
      double squares = 0;
      for (const Run& run : runs) {
        if (run.model != model || run.norm != norm || run.epochs.empty()) continue;
        const EpochMetrics& last = run.epochs.back();
        ++s.runs;
        s.accuracy_mean += last.test_accuracy;
        squares += last.test_accuracy * last.test_accuracy;
        s.final_loss += last.train_loss;
        s.gap += last.test_accuracy_batch_stats - last.test_accuracy;
        s.step_ms += run.step_ms;
        s.parameters = run.parameters;
        if (const int64_t epochs = run.epochs_to(0.95)) {
          s.epochs_to_95 += static_cast<double>(epochs);
          ++s.reached_95;
        }
      }
      if (s.runs == 0) continue;
      const auto n = static_cast<double>(s.runs);
      s.accuracy_mean /= n;
      const double spread = squares - n * s.accuracy_mean * s.accuracy_mean;
      s.accuracy_deviation = s.runs > 1 ? std::sqrt(std::max(0.0, spread / (n - 1))) : 0;
      s.final_loss /= n;
      s.gap /= n;
      s.step_ms /= n;
      if (s.reached_95) s.epochs_to_95 /= static_cast<double>(s.reached_95);
      summaries.push_back(s);
    }
  }
  return summaries;
}

std::string table(const std::vector<Summary>& summaries) {
  std::string text, model;
  for (const Summary& s : summaries) {
    if (s.model != model)
      text += fmt::format("\n{:<12} {:>16} {:>11} {:>13} {:>16} {:>9} {:>11}\n", s.model,
                          "test accuracy %", "final loss", "epochs to 95%", "batch-running %",
                          "ms/step", "parameters");
    model = s.model;
    const std::string epochs =
        s.reached_95 == 0 ? "never"
        : s.reached_95 == s.runs
            ? fmt::format("{:.1f}", s.epochs_to_95)
            : fmt::format("{:.1f} ({}/{})", s.epochs_to_95, s.reached_95, s.runs);
    const std::string gap = s.norm == "batch" ? fmt::format("{:+.2f}", 100 * s.gap) : "-";
    text += fmt::format(
        "{:<12} {:>16} {:>11.4f} {:>13} {:>16} {:>9.3f} {:>11}\n", "  " + s.norm,
        fmt::format("{:.2f} ± {:.2f}", 100 * s.accuracy_mean, 100 * s.accuracy_deviation),
        s.final_loss, epochs, gap, s.step_ms, s.parameters);
  }
  return text;
}

nlohmann::ordered_json to_json(const CompareOptions& options, const std::vector<Run>& runs) {
  nlohmann::ordered_json json = {{"options",
                                  {{"models", options.models},
                                   {"norms", options.norms},
                                   {"seeds", options.seeds},
                                   {"epochs", options.epochs},
                                   {"batch_size", options.batch_size},
                                   {"lr", options.lr},
                                   {"optimizer", options.optimizer},
                                   {"data", options.data}}},
                                 {"results", nlohmann::ordered_json::array()}};
  for (const Summary& s : summarize(runs))
    json["results"].push_back({{"model", s.model},
                               {"norm", s.norm},
                               {"runs", s.runs},
                               {"test_accuracy_mean", s.accuracy_mean},
                               {"test_accuracy_deviation", s.accuracy_deviation},
                               {"final_train_loss", s.final_loss},
                               {"runs_reaching_95", s.reached_95},
                               {"epochs_to_95", s.epochs_to_95},
                               {"batch_minus_running_accuracy", s.gap},
                               {"step_ms", s.step_ms},
                               {"parameters", s.parameters}});
  return json;
}

void prepare_folder(const std::string& folder) {
  std::error_code failure;
  fs::create_directories(folder, failure);
  const fs::path probe = fs::path(folder) / ".gradus-probe";
  std::ofstream file(probe);
  check(!failure && file.good(), "{}: cannot be written to{}{}", folder, failure ? ": " : "",
        failure ? failure.message() : "");
  file.close();
  fs::remove(probe, failure);
}

std::vector<std::string> write_results(const std::string& folder, const CompareOptions& options,
                                       const std::vector<Run>& runs) {
  const fs::path root = folder;
  write_file(root / "metrics.csv", [&](std::ostream& file) { file << csv(runs); });
  write_file(root / "summary.json",
             [&](std::ostream& file) { file << to_json(options, runs).dump(2) << "\n"; });
  std::vector<std::string> lines = {(root / "metrics.csv").string(),
                                    (root / "summary.json").string()};
  if (draw(root / "curves.svg", runs))
    lines.push_back((root / "curves.svg").string());
  else
    lines.push_back("no picture of the learning curves: gnuplot is not installed");
  return lines;
}

}  // namespace gradus::lab
