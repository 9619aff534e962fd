// How cost grows with the work: `growth FOLDER` writes growth.csv there, and growth.svg if gnuplot
// is installed, and prints with which power of x each curve ends.
#include <gradus/gradus.h>
#include <gradus/tensor/runtime.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "bench/measure.h"
#include "bench/process.h"

using namespace gradus;
using namespace gradus::bench;
namespace fs = std::filesystem;

namespace {

struct Point {
  double x, y;
};

/// A curve of a panel; both are named as in growth.gp.
struct Series {
  std::string panel, name;
  std::vector<Point> points;
};

/// p of y ~ x^p, by least squares over the upper half of log x.
double power(const std::vector<Point>& points) {
  const double from = (std::log(points.front().x) + std::log(points.back().x)) / 2;
  double n = 0, sx = 0, sy = 0, sxx = 0, sxy = 0;
  for (const Point& p : points) {
    const double x = std::log(p.x), y = std::log(p.y);
    if (x < from) continue;
    n += 1, sx += x, sy += y, sxx += x * x, sxy += x * y;
  }
  return (n * sxy - sx * sy) / (n * sxx - sx * sx);
}

class Curves {
 public:
  explicit Curves(const fs::path& file) : file_(file) {
    check(file_.good(), "growth: {} cannot be written", file.string());
    file_ << "panel,series,x,y\n";
    fmt::print("{:<10} {:<22} {:>9} {:>12} {:>9} {:>12} {:>12}\n", "panel", "series", "from", "",
               "to", "", "ends as");
  }

  template <class F>
  void measure(const std::string& panel, const std::string& name, const std::vector<int64_t>& xs,
               F y_of) {
    std::vector<Point> points;
    for (int64_t x : xs) {
      points.push_back({static_cast<double>(x), y_of(x)});
      file_ << fmt::format("{},{},{},{:.6g}\n", panel, name, x, points.back().y) << std::flush;
    }
    fmt::print("{:<10} {:<22} {:>9} {:>12.4g} {:>9} {:>12.4g} {:>12}\n", panel, name, xs.front(),
               points.front().y, xs.back(), points.back().y,
               fmt::format("x^{:.2f}", power(points)));
    std::fflush(stdout);
  }

 private:
  std::ofstream file_;
};

/// first, about `steps` values a factor of ten, up to last.
std::vector<int64_t> spread(int64_t first, int64_t last, double steps) {
  std::vector<int64_t> xs;
  const double decades = std::log10(static_cast<double>(last) / static_cast<double>(first));
  const int count = static_cast<int>(std::lround(decades * steps));
  for (int i = 0; i <= count; ++i) {
    const double x = static_cast<double>(first) * std::pow(10, decades * i / count);
    if (xs.empty() || std::llround(x) > xs.back()) xs.push_back(std::llround(x));
  }
  return xs;
}

std::vector<int64_t> doublings(int64_t first, int64_t last) {
  std::vector<int64_t> xs;
  for (int64_t x = first; x <= last; x *= 2) xs.push_back(x);
  return xs;
}

double forward_us(const std::function<Tensor()>& f) { return median_us(0.03, f); }

void ops(Curves& curves) {
  const auto rows_of = [](int64_t n) { return n < 1000 ? Shape{1, n} : Shape{n / 1000, 1000}; };
  using Op = Tensor (*)(const Tensor&);
  const std::pair<const char*, Op> list[] = {
      {"add", [](const Tensor& x) { return x + x; }},
      {"gelu", [](const Tensor& x) { return gelu(x); }},
      {"sum", [](const Tensor& x) { return sum(x); }},
      {"softmax", [](const Tensor& x) { return softmax(x); }},
      {"layer_norm", [](const Tensor& x) { return layer_norm(x, {x.size(1)}); }}};
  for (const auto& [name, op] : list)
    curves.measure("op", name, spread(1, 10'000'000, 3), [&, f = op](int64_t n) {
      const Tensor x = randn(rows_of(n));
      return forward_us([&] { return f(x); });
    });
}

/// A training step: forward, backward and Adam.
class Trainer {
 public:
  Trainer(AnyModule model, Tensor x)
      : model_(std::move(model)),
        optimizer_(model_->parameters()),
        x_(std::move(x)),
        y_(randint(0, 10, {x_.size(0)})) {}
  void operator()() {
    Tape tape;
    const Tensor loss = cross_entropy(model_(x_), y_);
    optimizer_.zero_grad();
    kept_ = tape.kept_bytes();
    tape.backward(loss);
    optimizer_.step();
  }
  /// What the tape kept for the backward pass of the last step.
  int64_t kept_bytes() const { return kept_; }

 private:
  AnyModule model_;
  Adam optimizer_;
  Tensor x_, y_;
  int64_t kept_ = 0;
};

/// A model whose training step is measured as x grows, in the panel of that name.
struct Growing {
  const char *panel, *name;
  std::vector<int64_t> xs;
  Trainer (*at)(int64_t x);
};

std::vector<Growing> growing() {
  return {{"batch", "mlp", doublings(1, 1024),
           [](int64_t n) {
             return Trainer(Mlp(64, 10, {.hidden = {128, 128}}), randn({n, 64}));
           }},
          {"depth", "mlp", spread(1, 1000, 4),
           [](int64_t depth) {
             const std::vector<int64_t> hidden(static_cast<size_t>(depth), 32);
             return Trainer(Mlp(32, 10, {.hidden = hidden}), randn({32, 32}));
           }},
          {"sequence", "rnn", doublings(8, 1024),
           [](int64_t t) {
             return Trainer(RnnClassifier(16, 10), randn({16, t, 16}));
           }},
          {"sequence", "transformer", doublings(8, 1024), [](int64_t t) {
             return Trainer(Transformer(t, 16, 10), randn({4, t, 16}));
           }}};
}

/// Of a training step: the time, what the tape kept, and the most memory the process had.
struct Step {
  double us, kept_mib, resident_mib;
};

/// What `growth step INDEX X THREADS` says. A process of its own, since one that has freed much
/// finds its memory in another order, in which 1000 layers take half as long again.
void print_step(size_t index, int64_t x, int count) {
  set_threads(count);
  Trainer trainer = growing()[index].at(x);
  const double us = median_us(0.05, trainer);
  double resident = 0;  // in KiB
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;)
    if (word == "VmHWM:") status >> resident;
  fmt::print("{} {} {}\n", us, static_cast<double>(trainer.kept_bytes()) / (1 << 20),
             resident / 1024);
}

Step step(const char* program, size_t index, int64_t x, int count) {
  const Ran ran =
      run({program, "step", std::to_string(index), std::to_string(x), std::to_string(count)});
  Step step{};
  check(ran.status == 0 && std::sscanf(ran.output.c_str(), "%lf %lf %lf", &step.us, &step.kept_mib,
                                       &step.resident_mib) == 3,
        "growth: no step of {} {}", growing()[index].name, x);
  return step;
}

void steps(Curves& curves, const char* program) {
  const std::vector<Growing> models = growing();
  for (size_t i = 0; i < models.size(); ++i) {
    const auto& [panel, name, xs, at] = models[i];
    for (int count : {1, 2})
      curves.measure(panel, fmt::format("{} {} thread{}", name, count, count == 1 ? "" : "s"), xs,
                     [&](int64_t x) { return step(program, i, x, count).us; });
    if (panel != std::string("depth")) continue;
    curves.measure("memory", "kept by the tape", xs,
                   [&](int64_t x) { return step(program, i, x, 1).kept_mib; });
    curves.measure("memory", "resident", xs,
                   [&](int64_t x) { return step(program, i, x, 1).resident_mib; });
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    check(argc > 1, "growth FOLDER");
    if (argc == 5 && std::strcmp(argv[1], "step") == 0)
      return print_step(std::stoul(argv[2]), std::stoll(argv[3]), std::stoi(argv[4])), 0;
    const fs::path folder = argv[1];
    fs::create_directories(folder);
    manual_seed(1);
    {
      Curves curves(folder / "growth.csv");
      set_threads(1);
      ops(curves);
      steps(curves, argv[0]);
    }
    const std::string picture = (folder / "growth.svg").string();
    const bool drawn =
        run({"gnuplot", "-e", fmt::format("data = '{}'", (folder / "growth.csv").string()), "-e",
             fmt::format("set output '{}'", picture), GRADUS_SOURCE_DIR "/bench/growth.gp"})
            .status == 0;
    fmt::print("{}\n", drawn ? picture : "no picture: gnuplot is not installed");
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
