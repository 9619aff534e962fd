// The rows of row_list.h on Gradus and on the peers that are there, in turn: who is how fast.
#include <fcntl.h>
#include <gradus/gradus.h>
#include <gradus/kernels/runtime/threads.h>
#include <gradus/tensor/runtime.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <thread>

#include "bench/measure.h"
#include "bench/process.h"
#include "bench/row_list.h"

using namespace gradus;
using namespace gradus::bench;

namespace {

/// A program that answers the questions of contestant.h.
class Contestant {
 public:
  Contestant(std::string name, int threads, std::vector<std::string> command)
      : name_(std::move(name)), threads_(threads), command_(std::move(command)) {
    command_.push_back(std::to_string(threads));
  }
  Contestant(Contestant&& other) noexcept
      : name_(std::move(other.name_)),
        threads_(other.threads_),
        command_(std::move(other.command_)),
        process_(std::exchange(other.process_, -1)),
        to_(std::exchange(other.to_, nullptr)),
        from_(std::exchange(other.from_, nullptr)) {}
  Contestant& operator=(Contestant&&) = delete;
  ~Contestant() { stop(); }
  /// The next question goes to a new process.
  void stop() {
    if (process_ <= 0) return;
    std::fclose(to_);
    std::fclose(from_);
    waitpid(process_, nullptr, 0);
    process_ = -1;
  }

  const std::string& name() const { return name_; }
  int threads() const { return threads_; }

  /// The answer; nothing if it has none, or is not there any more.
  std::optional<std::string> ask(const std::string& question) {
    if (process_ < 0) start();
    std::string answer;
    if (to_ && std::fprintf(to_, "%s\n", question.c_str()) > 0 && std::fflush(to_) == 0)
      for (int c; (c = std::fgetc(from_)) != EOF && c != '\n';)
        answer.push_back(static_cast<char>(c));
    if (answer.empty() || answer == "none") return {};
    return answer;
  }

  /// The most memory it has had resident, in MiB.
  double peak_mib() const {
    std::ifstream status(fmt::format("/proc/{}/status", process_));
    for (std::string word; status >> word;)
      if (word == "VmHWM:" && status >> word) return std::stod(word) / 1024;
    return 0;
  }

 private:
  void start() {
    int in[2], out[2];
    check(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0, "race: no pipe");
    std::vector<char*> arguments;
    for (std::string& word : command_) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    process_ = fork();
    if (process_ == 0) {
      dup2(in[0], STDIN_FILENO);
      dup2(out[1], STDOUT_FILENO);
      execvp(arguments[0], arguments.data());
      _exit(127);
    }
    close(in[0]);
    close(out[1]);
    to_ = fdopen(in[1], "w");
    from_ = fdopen(out[0], "r");
  }

  std::string name_;
  int threads_;
  std::vector<std::string> command_;
  pid_t process_ = -1;
  std::FILE *to_ = nullptr, *from_ = nullptr;
};

struct Options {
  std::vector<std::string> rows;
  int rounds = 5;
  double seconds = 0.15;
  std::string json, libtorch, python = "python3";
};

const std::string kGradus = GRADUS_BUILD_DIR "/bench/rows";

bool has_module(const std::string& python, const char* module) {
  return run({"/bin/sh", "-c", fmt::format("'{}' -c 'import {}' 2>/dev/null", python, module)})
             .status == 0;
}

std::vector<Contestant> contestants(const Options& options) {
  struct Entry {
    const char* name;
    std::vector<std::string> command;
    bool there;
    const char* wanted;
  };
  const std::string peers = GRADUS_SOURCE_DIR "/bench/peers/";
  const Entry entries[] = {
      {"gradus", {kGradus}, true, ""},
      {"libtorch", {options.libtorch}, !options.libtorch.empty(), "libtorch for C++"},
      {"torch.compile",
       {options.python, peers + "torch_compile_rows.py"},
       has_module(options.python, "torch"),
       "a Python with torch"},
      {"jax",
       {options.python, peers + "jax_rows.py"},
       has_module(options.python, "jax"),
       "a Python with jax"}};
  std::vector<Contestant> result;
  for (const Entry& entry : entries) {
    if (!entry.there) fmt::print("no {}: there is no {}\n", entry.name, entry.wanted);
    for (int threads : {1, 2})
      if (entry.there) result.emplace_back(entry.name, threads, entry.command);
  }
  return result;
}

/// What this machine can do, at its best over one and two threads.
class Machine {
 public:
  Machine() {
    const Tensor a = randn({1024, 1024}), b = randn({1024, 1024});
    flops_ = 2.0 * 1024 * 1024 * 1024 / best_us([&] { matmul(a, b); });
    fmt::print("sgemm {:.0f} Gflop/s, copy of 64 MiB {:.1f} GB/s\n", flops_ / 1e3,
               (128 << 20) / copy_us(128 << 20) / 1e3);
  }

  /// The time of so many flops at the rate of large products.
  double flops_us(double flops) const { return flops / flops_; }

  /// The time of a copy that reads and writes as many bytes.
  static double copy_us(double bytes) {
    if (bytes == 0) return 0;
    const auto n = static_cast<int64_t>(bytes / 2);
    Tensor from = full({n / 4 + 1}, 1), to = full({n / 4 + 1}, 2);
    char* target = to.mutable_bytes();
    const auto copy = [&] {
      kernels::parallel_for(n, 1 << 18, [&](int64_t begin, int64_t end) {
        std::memcpy(target + begin, from.bytes() + begin, static_cast<size_t>(end - begin));
      });
    };
    return best_us(copy);
  }

 private:
  /// The least that a call of f takes.
  template <class F>
  static double best_us(F f) {
    double best = INFINITY;
    for (int count : {1, 2}) {
      set_threads(count);
      const int64_t calls = calls_a_block(f);
      for (int i = 0; i < 7; ++i) best = std::min(best, mean_us(f, calls));
    }
    return best;
  }

  double flops_ = 0;  // a microsecond
};

/// Gradus and libtorch after the same 5 steps from the same weights.
struct Check {
  std::optional<double> difference;         ///< the largest, over the largest value
  bool same_on_one_thread = true;           ///< Gradus, to 9 digits, which f32 has
  double gradus_mib = 0, libtorch_mib = 0;  ///< at most, beyond what the program has without a row
};

std::vector<double> numbers(const std::string& text) {
  std::istringstream words(text);
  return {std::istream_iterator<double>(words), {}};
}

Check check_row(const RowInfo& row, const Options& options) {
  const auto ask = [&](const std::string& program, int threads, double& mib) {
    Contestant contestant(program, threads, {program});
    contestant.ask("check nothing");
    const double before = contestant.peak_mib();
    auto answer = contestant.ask("check " + row.name);
    mib = std::max(mib, contestant.peak_mib() - before);
    return answer;
  };
  Check result;
  const auto alone = ask(kGradus, 1, result.gradus_mib), mine = ask(kGradus, 2, result.gradus_mib);
  result.same_on_one_thread = alone == mine;
  if (options.libtorch.empty() || !mine) return result;
  const auto other = ask(options.libtorch, 2, result.libtorch_mib);
  if (!other) return result;
  const std::vector<double> a = numbers(*mine), b = numbers(*other);
  double largest = 0, difference = a.size() == b.size() ? 0 : INFINITY;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    largest = std::max(largest, std::abs(b[i]));
    difference = std::max(difference, std::abs(a[i] - b[i]));
  }
  result.difference = difference / largest;
  return result;
}

struct Outcome {
  std::optional<double> gradus[2], peer;  ///< microseconds, on 1 and 2 threads
  std::string peer_name;
  double bound;
  Check check;
  nlohmann::ordered_json all = nlohmann::ordered_json::object();

  double best() const { return gradus[0] && gradus[1] ? std::min(*gradus[0], *gradus[1]) : NAN; }
  double ratio() const { return peer ? *peer / best() : NAN; }
  double share() const { return bound / best(); }
};

constexpr double kAgree = 1e-4;

Outcome race(const RowInfo& row, std::vector<Contestant>& all, const Machine& machine,
             const Options& options) {
  Outcome outcome;
  outcome.check = check_row(row, options);
  // Python's take seconds to start.
  for (Contestant& contestant : all)
    if (contestant.name() == "gradus" || contestant.name() == "libtorch") contestant.stop();
  const std::string question = fmt::format("time {} {}", options.seconds, row.name);
  std::vector<std::vector<double>> times(all.size());
  std::vector<double> copies;
  for (int round = 0; round < options.rounds; ++round) {
    for (size_t i = 0; i < all.size(); ++i) {
      // Some libraries' threads spin for a while after the last step.
      std::this_thread::sleep_for(std::chrono::milliseconds(30));
      if (const auto answer = all[i].ask(question)) times[i].push_back(std::stod(*answer));
    }
    copies.push_back(machine.copy_us(row.bytes));
  }
  const auto offer = [&](double us, const std::string& name) {
    if (outcome.peer && *outcome.peer <= us) return;
    outcome.peer = us;
    outcome.peer_name = name;
  };
  std::optional<double> libtorch;
  for (size_t i = 0; i < all.size(); ++i) {
    if (times[i].empty()) continue;
    const double us = median(times[i]);
    const Contestant& who = all[i];
    outcome.all[fmt::format("{} {}", who.name(), who.threads())] = us;
    if (who.name() == "gradus")
      outcome.gradus[who.threads() - 1] = us;
    else
      offer(us, fmt::format("{} {}", who.name(), who.threads()));
    if (who.name() == "libtorch" && !(libtorch && *libtorch <= us)) libtorch = us;
  }
  if (libtorch && row.dynet > 0) offer(*libtorch / row.dynet, "DyNet (derived)");
  outcome.bound = machine.flops_us(row.flops) + median(copies);
  return outcome;
}

std::string number(std::optional<double> us) {
  if (!us || !std::isfinite(*us)) return "-";
  return fmt::format("{:.{}f}", *us, *us < 100 ? 2 : 0);
}

void print_outcome(const RowInfo& row, const Outcome& o) {
  const auto& c = o.check;
  fmt::print("{:<38} {:>8} {:>8} {:>8} {:<16} {:>6} {:>6} {:>4} {:>8} {:>6} {:>6} {:>8} {:>8}\n",
             row.name, number(o.gradus[0]), number(o.gradus[1]), number(o.peer), o.peer_name,
             number(o.ratio()), number(row.target), o.ratio() >= row.target ? "yes" : "NO",
             number(o.bound), o.best() > 0 ? fmt::format("{:.0f} %", 100 * o.share()) : "-",
             number(c.gradus_mib), c.libtorch_mib > 0 ? number(c.libtorch_mib) : "-",
             !c.difference             ? "-"
             : *c.difference <= kAgree ? fmt::format("{:.0e}", *c.difference)
                                       : fmt::format("{:.0e} NO", *c.difference));
  std::fflush(stdout);
}

nlohmann::ordered_json to_json(const RowInfo& row, const Outcome& o) {
  const auto value = [](std::optional<double> x) {
    return x && std::isfinite(*x) ? nlohmann::ordered_json(*x) : nullptr;
  };
  return {{"row", row.name},
          {"gradus_us_1", value(o.gradus[0])},
          {"gradus_us_2", value(o.gradus[1])},
          {"peer", o.peer ? nlohmann::ordered_json(o.peer_name) : nullptr},
          {"peer_us", value(o.peer)},
          {"ratio", value(o.ratio())},
          {"target", row.target},
          {"bound_us", value(o.bound)},
          {"all_us", o.all},
          {"gradus_mib", o.check.gradus_mib},
          {"libtorch_mib", o.check.libtorch_mib},
          {"result_difference", value(o.check.difference)}};
}

/// Whether all results are right.
bool summarize(const std::vector<std::pair<RowInfo, Outcome>>& outcomes) {
  double logs = 0;
  int raced = 0, met = 0;
  bool right = true;
  for (const auto& [row, o] : outcomes) {
    if (std::isfinite(o.ratio())) logs += std::log(o.ratio()), ++raced;
    met += o.ratio() >= row.target;
    if (o.gradus[0] && o.gradus[1] && *o.gradus[1] > 1.03 * *o.gradus[0])
      fmt::print("slower on two threads than on one by {:.0f} %: {}\n",
                 100 * (*o.gradus[1] / *o.gradus[0] - 1), row.name);
    if (o.share() < row.share)
      fmt::print("less than {:.0f} % of the bound: {}\n", 100 * row.share, row.name);
    if (o.check.libtorch_mib > 0 && o.check.gradus_mib >= o.check.libtorch_mib)
      fmt::print("more memory than libtorch: {}\n", row.name);
    const bool agree = !(o.check.difference > kAgree);
    if (!agree) fmt::print("Gradus and libtorch do not agree: {}\n", row.name);
    if (!o.check.same_on_one_thread)
      fmt::print("not the same on one thread and on two: {}\n", row.name);
    right = right && agree && o.check.same_on_one_thread;
  }
  if (raced > 0)
    fmt::print("geometric mean of the ratios {:.2f} (target 1.7); {} of {} targets met\n",
               std::exp(logs / raced), met, outcomes.size());
  return right;
}

int race_all(const Options& options) {
  signal(SIGPIPE, SIG_IGN);
  manual_seed(1);
  std::vector<Contestant> all = contestants(options);
  const Machine machine;
  fmt::print("\n{:<38} {:>8} {:>8} {:>8} {:<16} {:>6} {:>6} {:>4} {:>8} {:>6} {:>6} {:>8} {:>8}\n",
             "microseconds, medians", "1 thread", "2", "peer", "", "ratio", "target", "met",
             "bound", "share", "MiB", "libtorch", "differ");
  std::vector<std::pair<RowInfo, Outcome>> outcomes;
  for (const RowInfo& row : row_list()) {
    const auto named = [&](const std::string& part) {
      return row.name.find(part) != std::string::npos;
    };
    if (!options.rows.empty() && std::none_of(options.rows.begin(), options.rows.end(), named))
      continue;
    outcomes.emplace_back(row, race(row, all, machine, options));
    print_outcome(row, outcomes.back().second);
  }
  const int status = summarize(outcomes) ? 0 : 1;
  if (options.json.empty()) return status;
  auto json = nlohmann::ordered_json::array();
  for (const auto& [row, outcome] : outcomes) json.push_back(to_json(row, outcome));
  std::ofstream file(options.json);
  file << json.dump(2) << "\n";
  check(file.flush().good(), "race: {} cannot be written", options.json);
  return status;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Times the rows of row_list.h on Gradus and, in turn, on the peers that are there"};
  Options options;
  app.add_option("--rows", options.rows, "Only rows with one of these in their names");
  app.add_option("--rounds", options.rounds, "How often each is asked")->capture_default_str();
  app.add_option("--seconds", options.seconds, "How long each measures, each time")
      ->capture_default_str();
  app.add_option("--json", options.json, "Write the table to this file, too");
  app.add_option("--libtorch", options.libtorch, "bench/peers' program for libtorch");
  app.add_option("--python", options.python, "A Python with torch, with jax, or both")
      ->capture_default_str();
  try {
    app.parse(argc, argv);
    return race_all(options);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
