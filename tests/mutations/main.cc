#include <gradus/base/file.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <ctime>
#include <fstream>
#include <ostream>
#include <thread>

#include "tests/mutations/table.h"

using namespace gradus;
using namespace gradus::mutations;

namespace {

struct Settings {
  int seeds = 50, checks = 5000;
  std::string json, only;
};

/// What is being done, on a terminal; an empty text takes it away.
void show(const std::string& text) {
  static const bool live = ::isatty(STDERR_FILENO);
  if (live) std::fprintf(stderr, "\r\033[K%s", text.c_str());
}

std::string date() {
  const std::time_t now = std::time(nullptr);
  char text[16];
  std::strftime(text, sizeof text, "%Y-%m-%d", std::localtime(&now));
  return text;
}

std::string processor() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("model name")) return line.substr(line.find(": ") + 2);
  return "unknown";
}

int run(const Settings& settings) {
  // A path that cannot be written to is told before, not after, minutes of work.
  if (!settings.json.empty()) write_file(settings.json, [](std::ostream&) {});
  const std::vector<Mutant> mutants = all_mutants();
  std::vector<Row> rows;
  for (size_t i = 0; i < mutants.size(); ++i) {
    const Mutant& m = mutants[i];
    if (m.op.find(settings.only) == std::string::npos) continue;
    show(fmt::format("[{}/{}] {}: {}", i + 1, mutants.size(), m.op, m.what));
    rows.push_back(try_mutant(m, settings.seeds));
  }
  FalseAlarms right;
  for (int i = 0; i < settings.checks; ++i) {
    show(fmt::format("right gradients {}/{}, {} false alarms", i + 1, settings.checks,
                     right.alarms.size()));
    check_right(static_cast<uint64_t>(i) + 1, 4096, right);
  }
  show("");
  fmt::print("{}", to_markdown(rows, right));
  for (const Row& row : rows)
    if (!row.note.empty())
      std::fputs(fmt::format("{}, {}: {}\n", row.mutant.op, row.mutant.what, row.note).c_str(),
                 stderr);
  for (const std::string& alarm : right.alarms)
    std::fputs(("false alarm: " + alarm + "\n").c_str(), stderr);
  if (!settings.json.empty()) {
    nlohmann::ordered_json json{{"date", date()},
                                {"processor", processor()},
                                {"cores", std::thread::hardware_concurrency()}};
    json.update(to_json(rows, right));
    write_file(settings.json, [&](std::ostream& out) { out << json.dump(2) << "\n"; });
  }
  return totals(rows).missed == 0 && right.alarms.empty() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  CLI::App app("Who finds wrong backward passes: gradcheck and PyTorch's two rules");
  app.add_option("--seeds", settings.seeds, "Of each mutant")->check(CLI::PositiveNumber);
  app.add_option("--checks", settings.checks, "Of right gradients")->check(CLI::NonNegativeNumber);
  app.add_option("--op", settings.only, "Only mutants of ops with this in their name");
  app.add_option("--json", settings.json, "Also write the results to this file");
  CLI11_PARSE(app, argc, argv);
  try {
    return run(settings);
  } catch (const std::exception& error) {
    std::fputs(fmt::format("{}\n", error.what()).c_str(), stderr);
    return 2;
  }
}
