#include "lab/report.h"

#include <gradus/base/error.h>
#include <gradus/base/file.h>
#include <gradus/version.h>

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <filesystem>

#include "lab/command.h"
#include "lab/gnuplot.h"
#include "lab/json_text.h"
#include "lab/study/statistics.h"

namespace gradus::lab {

namespace {

namespace fs = std::filesystem;

constexpr double kGoal = 0.95;

std::string csv(const std::vector<Run>& runs) {
  std::string text =
      "model,norm,seed,epoch,train_loss,test_accuracy,test_accuracy_batch_stats,step_ms,"
      "parameters,test_loss\n";
  for (const Run& run : runs)
    for (const EpochMetrics& e : run.epochs)
      text += fmt::format("{},{},{},{},{:.6g},{:.6g},{:.6g},{:.4g},{},{:.6g}\n", run.model,
                          run.norm, run.seed, e.epoch, e.train_loss, e.test_accuracy,
                          e.test_accuracy_batch_stats, run.step_ms, run.parameters, e.test_loss);
  return text;
}

std::vector<std::string> names_of(const std::vector<Run>& runs, std::string Run::*member) {
  std::vector<std::string> names;
  for (const Run& run : runs)
    if (std::find(names.begin(), names.end(), run.*member) == names.end())
      names.push_back(run.*member);
  return names;
}

/// After each epoch a metric's mean, lowest and highest value over the seeds, as a gnuplot data
/// block. Runs that diverged are left out.
std::string curve(const std::string& name, const std::vector<const Run*>& runs,
                  double EpochMetrics::*metric, double scale) {
  std::string text = fmt::format("{} << END\n", name);
  for (size_t e = 0;; ++e) {
    double sum = 0, low = HUGE_VAL, high = -HUGE_VAL;
    int count = 0;
    for (const Run* run : runs) {
      if (run->diverged_in != 0 || e >= run->epochs.size()) continue;
      const double value = scale * (run->epochs[e].*metric);
      sum += value;
      low = std::min(low, value);
      high = std::max(high, value);
      ++count;
    }
    if (count == 0) break;
    text += fmt::format("{} {:.6g} {:.6g} {:.6g}\n", e + 1, sum / count, low, high);
  }
  return text + "END\n";
}

/// The norm's own, whichever others are drawn.
const char* color(const std::string& norm) {
  constexpr const char* colors[] = {"#666666", "#0072b2", "#d55e00", "#009e73", "#cc79a7"};
  return colors[static_cast<size_t>(norm_from(norm)) % std::size(colors)];
}

/// Where the axis of accuracies begins, in %, so that the ends of the curves can be told apart.
double lowest_accuracy(const std::vector<Run>& runs) {
  double worst = 0.99;
  for (const Run& run : runs)
    if (run.diverged_in == 0 && !run.epochs.empty())
      worst = std::min(worst, run.epochs.back().test_accuracy);
  return std::max(0.0, 100 - 300 * (1 - worst));
}

/// Draws to the standard output: a row of panels for each metric, a column for each model.
std::string gnuplot_script(const std::vector<Run>& runs) {
  const auto models = names_of(runs, &Run::model), norms = names_of(runs, &Run::norm);
  size_t epochs = 1;
  uint64_t seeds = 1;
  for (const Run& run : runs) {
    epochs = std::max(epochs, run.epochs.size());
    seeds = std::max(seeds, run.seed);
  }
  std::string text = fmt::format(
      "set terminal svg size {},680 font 'sans,13' background 'white'\n"
      "set multiplot layout 2,{} title '{}'\nset grid\nset xlabel 'epoch'\nset xrange [0:{}]\n{}"
      "set style fill transparent solid 0.15 noborder\n",
      std::max<size_t>(480, 400 * models.size()), models.size(),
      seeds == 1
          ? "1 seed"
          : fmt::format("mean over {} seeds; bands reach from the lowest to the highest", seeds),
      epochs, epochs <= 10 ? "set xtics 1\n" : "");
  struct Row {
    const char* label;
    std::string axis;
    double EpochMetrics::*metric;
    double scale;
  };
  const Row rows[] = {
      {"training loss", "set logscale y\nset format y '%g'\nset key top right\n",
       &EpochMetrics::train_loss, 1},
      {"test accuracy %",
       fmt::format("unset logscale y\nset yrange [{:.4g}:100]\nset key bottom right\n",
                   lowest_accuracy(runs)),
       &EpochMetrics::test_accuracy, 100}};
  int blocks = 0;
  for (const Row& row : rows) {
    text += row.axis;
    for (const std::string& model : models) {
      std::string bands, lines;
      for (const std::string& norm : norms) {
        const std::string block = fmt::format("$curve{}", ++blocks);
        std::vector<const Run*> chosen;
        for (const Run& run : runs)
          if (run.model == model && run.norm == norm) chosen.push_back(&run);
        const std::string data = curve(block, chosen, row.metric, row.scale);
        if (std::count(data.begin(), data.end(), '\n') == 2)
          continue;  // gnuplot fails without data
        text += data;
        bands += fmt::format("{} using 1:3:4 with filledcurves linecolor '{}' notitle, ", block,
                             color(norm));
        lines += fmt::format(
            "{} using 1:2 with linespoints linewidth 2 pointtype 7 pointsize 0.3 linecolor '{}' "
            "title '{}', ",
            block, color(norm), norm);
      }
      if (lines.empty())
        text += "set multiplot next\n";
      else
        text += fmt::format("set title '{}'\nset ylabel '{}'\nplot {}{}\n", model, row.label, bands,
                            lines.substr(0, lines.size() - 2));
    }
  }
  return text + "unset multiplot\n";
}

std::string accuracy_cell(const Summary& s) {
  const double mean = 100 * s.accuracy_mean, deviation = 100 * s.accuracy_deviation;
  return s.runs == 1 ? fmt::format("{:.2f}", mean)
                     : fmt::format("{:.2f} ± {:.2f}", mean, deviation);
}

std::string difference_cell(const Summary& s) {
  if (s.pairs == 0) return "-";
  return fmt::format("{:+.2f} ({}/{})", 100 * s.difference, s.higher, s.pairs);
}

std::string epochs_cell(const Summary& s) {
  if (s.reached_95 == 0) return "never";
  if (s.reached_95 == s.runs) return fmt::format("{:.1f}", s.epochs_to_95);
  return fmt::format("{:.1f} ({}/{})", s.epochs_to_95, s.reached_95, s.runs);
}

}  // namespace

namespace {

/// See Summary::half_width.
double half_width(const std::vector<double>& differences, double test_to_train) {
  if (differences.size() < 2) return 0;
  const Estimate e =
      test_to_train > 0 ? resampled(differences, 1, test_to_train) : paired(differences);
  return e.high() - e.mean;
}

}  // namespace

std::vector<Summary> summarize(const std::vector<Run>& runs) {
  std::vector<Summary> summaries;
  const auto norms = names_of(runs, &Run::norm);
  for (const std::string& model : names_of(runs, &Run::model)) {
    for (const std::string& norm : norms) {
      Summary s{.model = model, .norm = norm, .reference = norms.front()};
      std::vector<double> accuracies, differences;
      double test_to_train = 0;
      for (const Run& run : runs) {
        if (run.model != model || run.norm != norm) continue;
        s.parameters = run.parameters;
        s.diverged += run.diverged_in != 0;
        if (!run.finished) continue;
        const EpochMetrics& last = run.epochs.back();
        ++s.runs;
        accuracies.push_back(last.test_accuracy);
        s.final_loss += last.train_loss;
        s.test_loss += last.test_loss;
        s.gap += last.test_accuracy_batch_stats - last.test_accuracy;
        s.step_ms += run.step_ms;
        if (const int64_t epochs = run.epochs_to(kGoal)) {
          s.epochs_to_95 += static_cast<double>(epochs);
          ++s.reached_95;
        }
        for (const Run& other : runs) {
          if (other.model != model || other.norm != s.reference || other.norm == norm ||
              other.seed != run.seed || !other.finished)
            continue;
          const double difference = last.test_accuracy - other.epochs.back().test_accuracy;
          ++s.pairs;
          differences.push_back(difference);
          test_to_train = run.test_to_train;
          s.difference += difference;
          s.higher += difference > 0;
          s.lower += difference < 0;
        }
      }
      if (s.runs + s.diverged == 0) continue;
      const auto n = static_cast<double>(std::max<int64_t>(1, s.runs));
      for (double accuracy : accuracies) s.accuracy_mean += accuracy / n;
      double squares = 0;
      for (double accuracy : accuracies)
        squares += (accuracy - s.accuracy_mean) * (accuracy - s.accuracy_mean);
      s.accuracy_deviation = s.runs > 1 ? std::sqrt(squares / (n - 1)) : 0;
      s.final_loss /= n;
      s.test_loss /= n;
      s.gap /= n;
      s.step_ms /= n;
      if (s.reached_95) s.epochs_to_95 /= static_cast<double>(s.reached_95);
      if (s.pairs) s.difference /= static_cast<double>(s.pairs);
      s.half_width = half_width(differences, test_to_train);
      summaries.push_back(s);
    }
  }
  return summaries;
}

std::string table(const std::vector<Summary>& summaries) {
  if (summaries.empty()) return "";
  const std::string& reference = summaries.front().reference;
  std::string text, model;
  bool diverged = false, several = false;
  const auto row = [&](const auto&... cells) {
    text += fmt::format("{:<12} {:>15} {:>13} {:>10} {:>8} {:>13} {:>6} {:>9} {:>11}\n", cells...);
  };
  for (const Summary& s : summaries) {
    if (s.model != model) {
      if (!model.empty()) text += "\n";
      row(s.model, "test accuracy %", "vs " + reference, "test loss", "loss", "epochs to 95%",
          "gap", "ms/step", "parameters");
    }
    model = s.model;
    diverged = diverged || s.diverged > 0;
    several = several || s.pairs > 0;
    const std::string norm = "  " + s.norm + (s.diverged > 0 ? " *" : "");
    if (s.runs == 0)
      row(norm, "diverged", "-", "-", "-", "-", "-", "-", s.parameters);
    else
      row(norm, accuracy_cell(s), difference_cell(s), fmt::format("{:.4f}", s.test_loss),
          s.final_loss < 100 ? fmt::format("{:.4f}", s.final_loss)
                             : fmt::format("{:.2g}", s.final_loss),
          epochs_cell(s),
          depends_on_batch(norm_from(s.norm)) ? fmt::format("{:+.2f}", 100 * s.gap) : "-",
          fmt::format("{:.3f}", s.step_ms), s.parameters);
  }
  text +=
      "\n± deviation over seeds; gap: accuracy with the test batches' own statistics minus that "
      "with the running\nones";
  if (several)
    text += fmt::format("; vs {}: points gained on average (and in how many seeds)", reference);
  text += "\n";
  if (diverged) text += "* in some seeds the loss became infinite; they are left out\n";
  return text;
}

std::string findings(const std::vector<Summary>& summaries) {
  std::string better, worse, first;
  const auto add = [](std::string& list, const std::string& item) {
    list += (list.empty() ? "" : ", ") + item;
  };
  bool several = false;
  bool compared = false;
  std::vector<const Summary*> fastest;  // of each model
  for (const Summary& s : summaries) {
    several = several || s.norm != s.reference;
    if (s.pairs > 1) {
      compared = true;
      const std::string with_interval =
          fmt::format("{} {} ({:+.2f} to {:+.2f} points)", s.model, s.norm,
                      100 * (s.difference - s.half_width), 100 * (s.difference + s.half_width));
      if (s.difference > s.half_width) add(better, with_interval);
      if (s.difference < -s.half_width) add(worse, with_interval);
    }
    if (s.runs == 0 || s.reached_95 < s.runs) continue;
    if (fastest.empty() || fastest.back()->model != s.model)
      fastest.push_back(&s);
    else if (s.epochs_to_95 < fastest.back()->epochs_to_95)
      fastest.back() = &s;
  }
  for (const Summary* s : fastest)
    add(first, fmt::format("{} {} ({:.1f})", s->model, s->norm, s->epochs_to_95));
  std::string text;
  if (compared) {
    const std::string& reference = summaries.front().reference;
    if (!better.empty())
      text += fmt::format("Above {} at 95 % confidence each: {}.\n", reference, better);
    if (!worse.empty())
      text += fmt::format("Below {} at 95 % confidence each: {}.\n", reference, worse);
    if (better.empty() && worse.empty())
      text += fmt::format("Against {} these seeds leave every difference undecided (95 %).\n",
                          reference);
  }
  if (several && !first.empty()) text += fmt::format("First at 95 %, in epochs: {}.\n", first);
  return text;
}

nlohmann::ordered_json to_json(const CompareOptions& options, const std::string& data_checksum) {
  return {{"models", options.models},         {"norms", options.norms},
          {"seeds", options.seeds},           {"epochs", options.epochs},
          {"batch_size", options.batch_size}, {"lr", options.lr},
          {"optimizer", options.optimizer},   {"data", options.data},
          {"data_checksum", data_checksum}};
}

nlohmann::ordered_json to_json(const CompareOptions& options, const std::string& data_checksum,
                               const std::vector<Run>& runs) {
  const size_t planned =
      options.models.size() * options.norms.size() * static_cast<size_t>(options.seeds);
  const auto ended = [](const Run& run) { return run.finished || run.diverged_in != 0; };
  nlohmann::ordered_json json = {
      {"version", GRADUS_VERSION},
      {"options", to_json(options, data_checksum)},
      {"complete", static_cast<size_t>(std::count_if(runs.begin(), runs.end(), ended)) == planned},
      {"results", nlohmann::ordered_json::array()}};
  for (const Summary& s : summarize(runs)) {
    const auto known = [](bool is_known, double value) {
      return is_known ? nlohmann::ordered_json(value) : nlohmann::ordered_json();
    };
    json["results"].push_back({{"model", s.model},
                               {"norm", s.norm},
                               {"runs", s.runs},
                               {"diverged", s.diverged},
                               {"test_accuracy_mean", known(s.runs > 0, s.accuracy_mean)},
                               {"test_accuracy_deviation", known(s.runs > 1, s.accuracy_deviation)},
                               {"test_loss_mean", known(s.runs > 0, s.test_loss)},
                               {"reference", s.reference},
                               {"difference", known(s.pairs > 0, s.difference)},
                               {"difference_half_width", known(s.pairs > 1, s.half_width)},
                               {"seeds_compared", s.pairs},
                               {"seeds_higher", s.higher},
                               {"seeds_lower", s.lower},
                               {"final_train_loss", known(s.runs > 0, s.final_loss)},
                               {"runs_reaching_95", s.reached_95},
                               {"epochs_to_95", known(s.reached_95 > 0, s.epochs_to_95)},
                               {"batch_minus_running_accuracy", known(s.runs > 0, s.gap)},
                               {"step_ms", known(s.runs > 0, s.step_ms)},
                               {"parameters", s.parameters}});
  }
  return json;
}

namespace {

/// A value of a summary; an Error unless it is one of a comparison's.
template <class T>
T value_of(const nlohmann::ordered_json& row, const char* key) {
  const auto found = row.find(key);
  check(found != row.end(), "summary: no {}", key);
  if constexpr (std::same_as<T, std::string>) {
    check(found->is_string(), "summary: {} is no text", key);
  } else if constexpr (std::same_as<T, int64_t>) {
    check(found->is_number_integer() && found->template get<int64_t>() >= 0,
          "summary: {} is no number of things", key);
  } else {
    if (found->is_null()) return 0;
    check(found->is_number(), "summary: {} is no number", key);
  }
  return found->template get<T>();
}

}  // namespace

std::vector<Summary> summaries_from(const nlohmann::ordered_json& json) {
  check(json.is_object() && json.contains("results") && json["results"].is_array(),
        "summary: no results");
  std::vector<Summary> summaries;
  for (const auto& row : json["results"]) {
    check(row.is_object(), "summary: a result is no object");
    const auto number = [&](const char* key) { return value_of<double>(row, key); };
    const auto count = [&](const char* key) { return value_of<int64_t>(row, key); };
    const auto text = [&](const char* key) { return value_of<std::string>(row, key); };
    summaries.push_back({.model = text("model"),
                         .norm = text("norm"),
                         .runs = count("runs"),
                         .diverged = count("diverged"),
                         .accuracy_mean = number("test_accuracy_mean"),
                         .accuracy_deviation = number("test_accuracy_deviation"),
                         .test_loss = number("test_loss_mean"),
                         .final_loss = number("final_train_loss"),
                         .epochs_to_95 = number("epochs_to_95"),
                         .reached_95 = count("runs_reaching_95"),
                         .gap = number("batch_minus_running_accuracy"),
                         .step_ms = number("step_ms"),
                         .parameters = count("parameters"),
                         .reference = text("reference"),
                         .pairs = count("seeds_compared"),
                         .higher = count("seeds_higher"),
                         .lower = count("seeds_lower"),
                         .difference = number("difference"),
                         .half_width = number("difference_half_width")});
    norm_from(summaries.back().norm);  // it is one
  }
  return summaries;
}

std::vector<std::string> write_tables(const std::string& folder,
                                      const nlohmann::ordered_json& summary,
                                      const std::vector<Run>& runs) {
  const std::string metrics = fs::path(folder) / "metrics.csv",
                    file = fs::path(folder) / "summary.json";
  write_file(metrics, [&](std::ostream& out) { out << csv(runs); });
  write_file(file, [&](std::ostream& out) { out << json_text(summary) << "\n"; });
  return {metrics, file};
}

std::string write_picture(const std::string& folder, const std::vector<Run>& runs) {
  const std::string script = fs::path(folder) / "curves.gp",
                    picture = fs::path(folder) / "curves.svg";
  write_file(script, [&](std::ostream& file) { file << gnuplot_script(runs); });
  const GnuplotPicture drawn = gnuplot(script);
  if (drawn.failure.empty()) {
    write_file(picture, [&](std::ostream& out) { out << drawn.bytes; });
    return picture;
  }
  remove_file(picture);  // one of earlier results
  return fmt::format("no picture of the learning curves: {}; later: gnuplot {} > {}", drawn.failure,
                     shell_word(script), shell_word(picture));
}

}  // namespace gradus::lab
