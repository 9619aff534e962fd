#include <fmt/format.h>
#include <gradus/base/file.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>

#include "lab/command.h"
#include "lab/gnuplot.h"
#include "lab/page/figure.h"
#include "lab/study/csv.h"

namespace gradus::lab {

namespace {

struct PlotOptions {
  std::string file, x, output;
  std::vector<std::string> columns;
  bool log = false;
};

struct Table {
  std::vector<std::string> names;
  std::vector<std::vector<double>> columns;

  size_t index(const std::string& file, const std::string& name) const {
    const auto found = std::ranges::find(names, name);
    check(found != names.end(), "{}: there is no column '{}', there are {}", file, name,
          fmt::join(names, ", "));
    return static_cast<size_t>(found - names.begin());
  }
};

Table read_table(const std::string& path) {
  const std::string text = read_file(path);
  const std::string header = text.substr(0, text.find('\n'));
  Table table;
  for (size_t at = 0, end = 0; end != std::string::npos; at = end + 1) {
    end = header.find(',', at);
    table.names.push_back(header.substr(at, end == std::string::npos ? end : end - at));
  }
  check(table.names.size() > 1,
        "{}: '{}' names no two columns; a CSV of numbers, as CsvLog writes "
        "it, is drawn",
        path, header);
  table.columns.resize(table.names.size());
  // A line that is being written is not looked at.
  const std::string whole = text.substr(0, text.rfind('\n') + 1);
  read_csv(path, whole, header, [&](const std::string& where, const auto& cells) {
    for (size_t c = 0; c < cells.size(); ++c)
      table.columns[c].push_back(csv_number(where, cells[c]));
  });
  check(!table.columns[0].empty(), "{}: has no line below its header", path);
  return table;
}

/// Means of so many neighbours, which a picture can show.
constexpr size_t kPoints = 2000;
std::vector<double> thinned(const std::vector<double>& values, size_t together) {
  std::vector<double> means;
  for (size_t begin = 0; begin < values.size(); begin += together) {
    const size_t end = std::min(values.size(), begin + together);
    double sum = 0;
    for (size_t i = begin; i < end; ++i) sum += values[i];
    means.push_back(sum / static_cast<double>(end - begin));
  }
  return means;
}

/// What is measured: of train_loss and test_loss, which share a panel, "loss".
std::string quantity(const std::string& name) {
  const size_t last = name.find_last_of("_/. ");
  return last == std::string::npos || last + 1 == name.size() ? name : name.substr(last + 1);
}

std::string quoted(const std::string& text) { return "'" + replace_all(text, "'", "''") + "'"; }

struct Panel {
  std::string title;
  std::vector<size_t> columns;
};

/// Columns of one quantity together, in their order; those without a number that can be drawn are
/// left out.
std::vector<Panel> panels_of(const Table& table, const std::vector<size_t>& chosen, bool log) {
  std::vector<Panel> panels;
  for (const size_t c : chosen) {
    const bool drawn = std::ranges::any_of(
        table.columns[c], [log](double v) { return std::isfinite(v) && (!log || v > 0); });
    if (!drawn) continue;
    const std::string title = quantity(table.names[c]);
    const auto known = std::ranges::find(panels, title, &Panel::title);
    if (known == panels.end())
      panels.push_back({title, {c}});
    else
      known->columns.push_back(c);
  }
  return panels;
}

std::string gnuplot_script(const PlotOptions& options, const Table& table, size_t x,
                           const std::vector<Panel>& panels) {
  const size_t rows = table.columns[0].size(), together = (rows + kPoints - 1) / kPoints,
               wide = panels.size() > 3 ? 2 : 1, high = (panels.size() + wide - 1) / wide;
  const bool png = options.output.ends_with(".png");
  const std::string title = std::filesystem::path(options.file).filename().string() +
                            (together > 1 ? fmt::format(", means of {} lines", together) : "");
  std::string text = fmt::format(
      "set terminal {} size {},{} font 'sans,{}' background 'white' noenhanced\n"
      "set multiplot layout {},{} title {}\nset grid\nset key above\nset xlabel {}\n{}",
      png ? "pngcairo" : "svg", wide * 640, 40 + high * 300, png ? 11 : 13, high, wide,
      quoted(title), quoted(table.names[x]),
      options.log ? "set logscale y\nset format y '%g'\n" : "");
  const std::vector<double> xs = thinned(table.columns[x], together);
  const char* const style = xs.size() <= 60 ? "linespoints pointtype 7 pointsize 0.4" : "lines";
  int blocks = 0;
  for (const Panel& panel : panels) {
    std::string plots;
    for (const size_t c : panel.columns) {
      text += fmt::format("$column{} << end\n", ++blocks);
      const std::vector<double> ys = thinned(table.columns[c], together);
      for (size_t i = 0; i < xs.size(); ++i)
        text += std::isfinite(xs[i]) && std::isfinite(ys[i])
                    ? fmt::format("{} {}\n", xs[i], ys[i])
                    : "\n";  // where the line is interrupted
      plots += fmt::format("{}$column{} using 1:2 with {} linewidth 2 title {}",
                           plots.empty() ? "" : ", ", blocks, style, quoted(table.names[c]));
      text += "end\n";
    }
    text += fmt::format("set ylabel {}\nplot {}\n", quoted(panel.title), plots);
  }
  return text + "unset multiplot\n";
}

int plot(PlotOptions options) {
  namespace fs = std::filesystem;
  if (options.output.empty()) options.output = fs::path(options.file).replace_extension(".svg");
  check(options.output.ends_with(".svg") || options.output.ends_with(".png"),
        "--output {}: a picture is .svg or .png", options.output);
  check(!fs::exists(options.output) || !fs::exists(options.file) ||
            !fs::equivalent(options.output, options.file),
        "--output {}: is the file itself", options.output);
  const Table table = read_table(options.file);
  const size_t x = options.x.empty() ? 0 : table.index(options.file, options.x);
  std::vector<size_t> chosen;
  for (const std::string& name : options.columns) chosen.push_back(table.index(options.file, name));
  for (size_t c = 0; options.columns.empty() && c < table.names.size(); ++c)
    if (c != x) chosen.push_back(c);
  const std::vector<Panel> panels = panels_of(table, chosen, options.log);
  check(!panels.empty(), "{}: no column has a number that can be drawn", options.file);
  const std::string script = options.output + ".gp";
  write_file(script,
             [&](std::ostream& file) { file << gnuplot_script(options, table, x, panels); });
  const GnuplotPicture drawn = gnuplot(script);
  if (!drawn.failure.empty())
    throw WriteError(fmt::format("no picture of {}: {}; later: gnuplot {} > {}", options.file,
                                 drawn.failure, shell_word(script), shell_word(options.output)));
  remove_file(script);
  write_file(options.output, [&](std::ostream& file) { file << drawn.bytes; });
  fmt::print("{}\n", options.output);
  return 0;
}

Command::Run setup(CLI::App& app) {
  const auto options = std::make_shared<PlotOptions>();
  app.add_option("file", options->file,
                 "A CSV of numbers below a line of names, as CsvLog writes it")
      ->required();
  app.add_option("--x", options->x, "The column along the axis (default: the first)");
  app.add_option("--columns", options->columns, "What to draw (default: all others)")
      ->delimiter(',');
  app.add_option("--output", options->output, "The picture, .svg or .png (default: FILE.svg)");
  app.add_flag("--log", options->log, "Logarithmic axes");
  return [options] { return plot(*options); };
}

}  // namespace

static Command plot_command("plot", "Draw the columns of a training's CSV", setup);

}  // namespace gradus::lab
