#include <gradus/autograd/evaluation.h>
#include <gradus/autograd/gradcheck.h>
#include <gradus/autograd/gradcheck_judge.h>
#include <gradus/autograd/gradcheck_warnings.h>
#include <gradus/autograd/numeric_derivative.h>
#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/shape.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>
#include <optional>

namespace gradus {

namespace {

constexpr int64_t kFullElements = int64_t{1} << 20;  // of a Jacobian that is computed in full
constexpr int64_t kLocalEntries = 4096;  // of a tensor all of whose entries are searched
constexpr double kUsualEvaluations = 8;  // of f, for one derivative

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// Independent normals, of unit norm: centred, so that no common part takes most of it, and with a
/// part along every direction, the constant one included.
std::vector<double> direction(int64_t n, Generator& generator) {
  std::vector<double> v(static_cast<size_t>(n));
  double square = 0;
  for (double& value : v) {
    value = generator.normal();
    square += value * value;
  }
  for (double& value : v) value /= std::sqrt(std::max(square, 1e-300));
  return v;
}

double rms(std::span<const double> values) {
  double square = 0;
  for (double value : values) square += value * value;
  return values.empty() ? 0 : std::sqrt(square / static_cast<double>(values.size()));
}

/// Moves a tensor's values from where they are; puts them back at the end.
class Mover {
 public:
  explicit Mover(const Tensor& x) : x_(x), values_(x.to_vector<double>()) {}
  ~Mover() { along({}, 0); }
  Mover(const Mover&) = delete;
  Mover& operator=(const Mover&) = delete;
  const std::vector<double>& values() const { return values_; }

  /// Entry k becomes its value + h.
  void entry(int64_t k, double h) {
    dispatch_floating(x_.dtype(), "gradcheck", [&]<class T>() {
      x_.mutable_data<T>()[k] = static_cast<T>(values_[static_cast<size_t>(k)] + h);
    });
  }
  /// Every entry becomes its value + h v.
  void along(std::span<const double> v, double h) {
    dispatch_floating(x_.dtype(), "gradcheck", [&]<class T>() {
      T* x = x_.mutable_data<T>();
      for (size_t k = 0; k < values_.size(); ++k)
        x[k] = static_cast<T>(h == 0 ? values_[k] : values_[k] + h * v[k]);
    });
  }

 private:
  Tensor x_;
  std::vector<double> values_;
};

/// Errors for what cannot be checked.
void check_inputs(std::span<const Tensor> inputs) {
  check(!inputs.empty(), "gradcheck: no inputs are given");
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Tensor& x = inputs[i];
    check(static_cast<bool>(x), "gradcheck: input {} is an empty Tensor", i);
    const std::string name = input_name(x, i);
    check(is_floating(x.dtype()),
          "gradcheck: {} {} is {}: only floating inputs have derivatives; let the function capture "
          "it instead",
          name, x.shape(), gradus::name(x.dtype()));
    check(x.dtype() == inputs[0].dtype(), "gradcheck: inputs are {} and {}; cast one of them",
          gradus::name(inputs[0].dtype()), gradus::name(x.dtype()));
    check(x.requires_grad() && x.is_contiguous(),
          "gradcheck: {} {} must be a contiguous leaf that requires a gradient; call "
          "set_requires_grad() on it or a clone, or let the function capture it",
          name, x.shape());
    const std::string wrong = first_not_finite(x);
    check(wrong.empty(), "gradcheck: {} {} is not finite{}", name, x.shape(), wrong);
  }
}

using Directions = std::vector<std::vector<std::vector<double>>>;  // [block][column]

class Checker {
 public:
  Checker(const Function& f, std::span<const Tensor> inputs, const GradcheckOptions& options,
          int order)
      : inputs_(inputs), options_(options), evaluate_(f, inputs, options.buffers), begin_(now()) {
    report_.subject = options.subject;
    report_.order = order;
  }

  GradcheckReport run();
  void add_fault(std::string fault) { report_.faults.push_back(std::move(fault)); }

 private:
  bool look_at_the_function();
  template <class Show>
  void sweep(const JacobianRowSet& rows, std::span<const JacobianBlock> blocks,
             const Directions* directions, Show show);
  void fill_analytic(const JacobianRowSet& rows, std::vector<JacobianBlock>& blocks,
                     const Directions* directions = nullptr);
  template <class Visit>
  void near_the_point(Visit visit);
  void start_rows(const JacobianRowSet& rows);
  template <class Move>
  void fill_column(const JacobianRowSet& rows, JacobianBlock& block, size_t column, double step,
                   const std::string& where, Move move);
  void fill_entries(const JacobianRowSet& rows, JacobianBlock& block);
  JacobianRowSet all_rows();
  JacobianRowSet some_rows();
  JacobianRowSet random_rows();
  void run_full();
  void run_projected();
  void localize(GradcheckInput& found);
  void find_in_large(GradcheckInput& found);
  void state_miss_probability(std::span<const JacobianBlock> blocks, size_t rows);
  void finish();

  JudgeScale scale() const { return {options_.safety, options_.resolution, natural_}; }
  bool is_f32() const { return inputs_[0].dtype() == DType::f32; }
  double first_step(double x) const {
    return (is_f32() ? 0x1p-3 : 0x1p-6) *
           std::exp2(std::ceil(std::log2(std::max(1.0, std::sqrt(std::abs(x))))));
  }

  std::span<const Tensor> inputs_;
  const GradcheckOptions& options_;
  Evaluation evaluate_;
  GradcheckReport report_;
  double begin_;

  Tensor y_;  // f at the inputs
  std::vector<double> y_values_;
  double evaluation_seconds_ = 0, natural_ = 0;
  std::vector<uint8_t> reached_;  // inputs that a path leads to
  // Of the rows that are being differentiated:
  std::vector<double> at_0_, noise_, y_moved_;
  Ridders ridders_;
};

/// What every check needs to know first; false if no derivative can be had.
bool Checker::look_at_the_function() {
  std::vector<Tensor> before;
  for (const Tensor& x : inputs_) before.push_back(raw::clone(x));
  y_ = raw::clone(evaluate_());
  bool changed = false;
  for (size_t i = 0; i < inputs_.size(); ++i) {
    if (same_bytes(inputs_[i], before[i])) continue;
    changed = true;
    add_fault(fmt::format("the function changes {}", input_name(inputs_[i], i)));
    Tensor x = inputs_[i];
    raw::copy(before[i], x);
  }
  if (changed) return false;
  const double start = now();
  const Tensor again = evaluate_();
  evaluation_seconds_ = now() - start;
  if (!same_bytes(y_, again)) {
    add_fault(y_.shape() == again.shape()
                  ? fmt::format("the function gives different results on equal input; {}",
                                describe_difference(y_, again))
                  : fmt::format("the function gives {} and then {} on equal input", y_.shape(),
                                again.shape()));
    return false;
  }
  y_values_ = y_.to_vector<double>();
  double square = 0, count = 0;
  for (const Tensor& x : inputs_)
    for (double value : x.to_vector<double>()) {
      square += value * value;
      ++count;
    }
  natural_ = 1e-3 * rms(y_values_) / std::max(1.0, std::sqrt(square / std::max(1.0, count)));
  return true;
}

/// One sweep a row over fresh records; shows each row's gradients as columns: entries of the
/// blocks, or parts along their directions.
template <class Show>
void Checker::sweep(const JacobianRowSet& rows, std::span<const JacobianBlock> blocks,
                    const Directions* directions, Show show) {
  Tape tape;
  const Tensor y = evaluate_.recorded();
  check(y.tape() == tape.serial() || y.requires_grad(),
        "gradcheck: no path: the result {} does not depend on any input through recorded "
        "operations",
        y.shape());
  if (report_.order == 1 && report_.sweeps == 0) report_.warnings = setup_warnings(inputs_, tape);
  std::vector<Tensor> wanted;
  for (const JacobianBlock& block : blocks) wanted.push_back(inputs_[block.input]);
  for (size_t r = 0; r < rows.size(); ++r) {
    const std::vector<Tensor> dx = tape.gradient(
        y, wanted, {.keep_graph = true, .dy = rows.dy(r, y.dtype()), .allow_unused = true});
    ++report_.sweeps;
    for (size_t b = 0; b < blocks.size(); ++b) {
      if (!dx[b]) continue;
      reached_[blocks[b].input] = 1;
      const std::vector<double> values = dx[b].to_vector<double>();
      for (size_t c = 0; c < blocks[b].columns; ++c) {
        double column = 0;
        if (directions)
          for (size_t k = 0; k < values.size(); ++k) column += values[k] * (*directions)[b][c][k];
        else
          column = values[static_cast<size_t>(blocks[b].entries[c])];
        show(r, b, c, column);
      }
    }
  }
  evaluate_.restore();
}

/// Fills in the analytic side, and what rounding makes of it, seen in the last row, which is a
/// weighted sum.
void Checker::fill_analytic(const JacobianRowSet& rows, std::vector<JacobianBlock>& blocks,
                            const Directions* directions) {
  sweep(rows, blocks, directions, [&](size_t r, size_t b, size_t c, double value) {
    blocks[b].analytic[r * blocks[b].columns + c] = value;
  });
  const JacobianRowSet last =
      rows.weights.empty() ? rows : JacobianRowSet{rows.output, {}, {rows.weights.back()}};
  std::vector<std::vector<std::vector<double>>> points(blocks.size());
  for (size_t b = 0; b < blocks.size(); ++b)
    points[b].assign(kNoisePoints, std::vector<double>(blocks[b].columns));
  near_the_point([&](size_t k) {
    sweep(last, blocks, directions,
          [&](size_t, size_t b, size_t c, double value) { points[b][k][c] = value; });
  });
  for (size_t b = 0; b < blocks.size(); ++b) blocks[b].noise = rounding_noise(points[b], 0);
}

/// Calls visit(k) for k = 0 .. 15 with the inputs moved by k tiny steps.
template <class Visit>
void Checker::near_the_point(Visit visit) {
  std::vector<std::unique_ptr<Mover>> movers;
  std::vector<std::vector<double>> directions;
  Generator generator(options_.seed, "noise");
  for (const Tensor& x : inputs_) {
    movers.push_back(std::make_unique<Mover>(x));
    std::vector<double> v = movers.back()->values();
    for (double& value : v)  // of no round length, or the moved points round as this one does
      value = (2 * generator.uniform() - 1) * std::max(1.0, std::abs(value));
    directions.push_back(std::move(v));
  }
  const double spacing = is_f32() ? 0x1p-12 : 0x1p-34;
  for (int k = 0; k < kNoisePoints; ++k) {
    for (size_t i = 0; i < movers.size(); ++i) movers[i]->along(directions[i], k * spacing);
    try {
      visit(static_cast<size_t>(k));
    } catch (const std::exception& error) {
      check(false, "gradcheck: the function threw with every input moved by {:.1e} of itself: {}",
            k * spacing, error.what());
    }
  }
}

/// Prepares for numeric derivatives of these rows: their values, and how far rounding moves them.
void Checker::start_rows(const JacobianRowSet& rows) {
  at_0_.resize(rows.size());
  rows.apply(y_values_, at_0_);
  std::vector<std::vector<double>> points(kNoisePoints, std::vector<double>(rows.size()));
  near_the_point([&](size_t k) {
    if (evaluate_.values(y_moved_)) rows.apply(y_moved_, points[k]);
  });
  noise_ = rounding_noise(points, is_f32() ? 0x1p-23 : 0x1p-52);
}

/// The numeric side of one column: the line moves by move(h).
template <class Move>
void Checker::fill_column(const JacobianRowSet& rows, JacobianBlock& block, size_t column,
                          double step, const std::string& where, Move move) {
  const Line line = [&](double h, std::span<double> values) {
    move(h);
    try {
      if (!evaluate_.values(y_moved_)) return false;
    } catch (const std::exception& error) {
      check(false, "gradcheck: the function threw with {} moved by {:.3g}: {}", where, h,
            error.what());
    }
    check(y_moved_.size() == y_values_.size(),
          "gradcheck: the function's result has {} elements, but {} with {} moved by {:.3g}",
          y_values_.size(), y_moved_.size(), where, h);
    rows.apply(y_moved_, values);
    return true;
  };
  const auto estimate = [&](double h, int least) -> const Derivatives& {
    return ridders_(line, at_0_, noise_,
                    {.step = h, .least = least, .target = options_.resolution * 1e-4});
  };
  const auto doubtful = [&] {
    for (size_t r = 0; r < rows.size(); ++r) {
      const size_t at = r * block.columns + column;
      const double error = std::abs(block.analytic[at] - block.numeric[at]);
      if (error > options_.safety * block.bound[at] + 1e-12 * std::abs(block.numeric[at]))
        return true;
    }
    return false;
  };
  const Derivatives& d = estimate(step, 2);
  for (size_t r = 0; r < rows.size(); ++r) {
    const size_t at = r * block.columns + column;
    block.numeric[at] = d.value[r];
    block.bound[at] = d.bound[r];
    block.kink[at] = d.kink[r];
  }
  // A bound is too small where extrapolations happen to meet, and a slight kink shows over more
  // steps. Before a difference counts, estimates from other points must find it, too.
  for (double other : {0.6875, 0.296875}) {
    if (!doubtful()) return;
    estimate(other * step, 6);
    for (size_t r = 0; r < rows.size(); ++r) {
      const size_t at = r * block.columns + column;
      const double apart =
          std::abs(block.numeric[at] - d.value[r]) - std::max(d.bound[r], block.bound[at]);
      if (d.bound[r] < block.bound[at]) {
        block.numeric[at] = d.value[r];
        block.bound[at] = d.bound[r];
      }
      block.bound[at] = std::max(block.bound[at], apart);
      block.kink[at] |= d.kink[r];
    }
  }
}

void Checker::fill_entries(const JacobianRowSet& rows, JacobianBlock& block) {
  const Tensor& x = inputs_[block.input];
  Mover mover(x);
  for (size_t c = 0; c < block.columns; ++c) {
    const int64_t k = block.entries[c];
    const double centre = mover.values()[static_cast<size_t>(k)];
    fill_column(rows, block, c, first_step(centre),
                fmt::format("{} {}", input_name(x, block.input), unravel(k, x.shape())),
                [&](double h) { mover.entry(k, h); });
    mover.entry(k, 0);
  }
}

std::vector<int64_t> all_entries(const Tensor& x) {
  std::vector<int64_t> entries(static_cast<size_t>(x.numel()));
  for (size_t k = 0; k < entries.size(); ++k) entries[k] = static_cast<int64_t>(k);
  return entries;
}

JacobianRowSet Checker::random_rows() {
  Generator generator(options_.seed, "output");
  JacobianRowSet rows{y_.shape(), {}, {}};
  for (int i = 0; i < std::max(1, options_.probes); ++i)
    rows.weights.push_back(direction(y_.numel(), generator));
  return rows;
}

JacobianRowSet Checker::all_rows() {
  Generator generator(options_.seed, "output");
  JacobianRowSet rows{y_.shape(), all_entries(y_), {}};
  if (y_.numel() > 1) rows.weights.push_back(direction(y_.numel(), generator));
  return rows;
}

/// Up to 64 output elements, the first and the last among them, and the weighted sums.
JacobianRowSet Checker::some_rows() {
  JacobianRowSet rows = random_rows();
  const int64_t n = y_.numel(), count = std::min<int64_t>(n, 64);
  for (int64_t i = 0; i < count; ++i)
    rows.elements.push_back(count < 2 ? 0 : i * (n - 1) / (count - 1));
  return rows;
}

void Checker::run_full() {
  const JacobianRowSet rows = all_rows();
  std::vector<JacobianBlock> blocks(inputs_.size());
  for (size_t i = 0; i < inputs_.size(); ++i) {
    blocks[i].input = i;
    blocks[i].entries = all_entries(inputs_[i]);
    blocks[i].resize(rows.size(), blocks[i].entries.size());
  }
  fill_analytic(rows, blocks);
  start_rows(rows);
  int64_t entries = 0;
  for (JacobianBlock& block : blocks) {
    fill_entries(rows, block);
    report_.inputs.push_back(judge(block, rows, inputs_[block.input], scale()));
    entries += inputs_[block.input].numel();
  }
  find_swapped_inputs(blocks, rows.size(), inputs_, report_.inputs);
  report_.method =
      fmt::format("full Jacobian ({} x {}) against Ridders' differences", y_.numel(), entries);
}

/// The probability that max |u_i| max |v_i| < ratio for as many independent normals u and v.
double miss_probability(int probes, double ratio) {
  const auto below = [&](double a) { return std::pow(std::erf(a / std::sqrt(2.0)), probes); };
  double sum = 0;
  constexpr int kSteps = 4000;
  for (int i = 0; i < kSteps; ++i) {  // over max |v|, on a logarithmic scale
    const double low = 1e-8 * std::pow(10, 9.0 * i / kSteps),
                 high = 1e-8 * std::pow(10, 9.0 * (i + 1) / kSteps);
    sum += (below(high) - below(low)) * below(ratio / low);
  }
  return std::min(1.0, sum + below(1e-8));
}

void Checker::state_miss_probability(std::span<const JacobianBlock> blocks, size_t rows) {
  report_.miss_size = options_.resolution;
  for (const JacobianBlock& block : blocks) {
    if (block.columns == 0) continue;
    const double size = rms(block.numeric);
    double tolerance = 0;
    for (size_t at = 0; at < rows * block.columns; ++at)
      tolerance = std::max(tolerance, options_.safety * block.bound[at] + 1e-12 * size);
    report_.miss_probability = std::max(
        report_.miss_probability,
        size == 0 ? 1.0
                  : miss_probability(options_.probes, tolerance / (size * report_.miss_size)));
  }
}

void Checker::run_projected() {
  const JacobianRowSet rows = random_rows();
  std::vector<JacobianBlock> blocks(inputs_.size());
  Directions directions(inputs_.size());
  Generator generator(options_.seed, "input");
  for (size_t i = 0; i < inputs_.size(); ++i) {
    const int64_t n = inputs_[i].numel();
    const size_t columns = static_cast<size_t>(std::min<int64_t>(n, std::max(1, options_.probes)));
    blocks[i].input = i;
    blocks[i].resize(rows.size(), columns);
    for (size_t c = 0; c < columns; ++c) directions[i].push_back(direction(n, generator));
  }
  fill_analytic(rows, blocks, &directions);
  start_rows(rows);
  for (size_t i = 0; i < inputs_.size(); ++i) {
    Mover mover(inputs_[i]);
    for (size_t c = 0; c < blocks[i].columns; ++c) {
      const std::vector<double>& v = directions[i][c];
      fill_column(rows, blocks[i], c, first_step(1),
                  fmt::format("{} along a random direction", input_name(inputs_[i], i)),
                  [&](double h) { mover.along(v, h); });
    }
  }
  state_miss_probability(blocks, rows.size());
  for (const JacobianBlock& block : blocks)
    report_.inputs.push_back(judge(block, rows, inputs_[block.input], scale()));
  for (GradcheckInput& found : report_.inputs)
    if (found.counts.disagree > 0) localize(found);
  report_.method = fmt::format(
      "projected on {} random directions of the output and as many of each input, against Ridders' "
      "differences",
      rows.size());
}

/// Which entries of a tensor that disagrees along random directions are wrong, and how.
void Checker::localize(GradcheckInput& found) {
  const size_t i = static_cast<size_t>(found.input);
  const int64_t n = inputs_[i].numel();
  const bool all =
      n <= kLocalEntries &&
      static_cast<double>(n) * kUsualEvaluations * evaluation_seconds_ <= options_.seconds;
  if (!all) return find_in_large(found);
  const JacobianRowSet rows = some_rows();
  std::vector<JacobianBlock> blocks(1);
  blocks[0].input = i;
  blocks[0].entries = all_entries(inputs_[i]);
  blocks[0].resize(rows.size(), blocks[0].entries.size());
  fill_analytic(rows, blocks);
  start_rows(rows);
  fill_entries(rows, blocks[0]);
  const GradcheckInput judged = judge(blocks[0], rows, inputs_[i], scale());
  found.wrong = judged.wrong;
  found.where = judged.where.empty() ? "no single entry stands out" : judged.where;
  found.diagnosis = judged.diagnosis;
  if (!judged.wrong.empty()) found.worst = judged.worst;
}

/// A box of entries, [low, high) along each axis.
struct Box {
  Shape low, high;
  int64_t numel() const {
    int64_t n = 1;
    for (int i = 0; i < low.ndim(); ++i) n *= high[i] - low[i];
    return n;
  }
  bool contains(const Shape& index) const {
    for (int i = 0; i < low.ndim(); ++i)
      if (index[i] < low[i] || index[i] >= high[i]) return false;
    return true;
  }
};

/// In a tensor too large to look at each entry: some at random and, where those are right,
/// bisection along the axes by directions that stay within a box.
void Checker::find_in_large(GradcheckInput& found) {
  constexpr int64_t kSamples = 64, kBoxes = 400;
  const size_t i = static_cast<size_t>(found.input);
  const Tensor& x = inputs_[i];
  const JacobianRowSet rows = random_rows();
  std::vector<JacobianBlock> blocks(1);
  Generator generator(options_.seed, "search");
  std::vector<uint8_t> taken(static_cast<size_t>(x.numel()));
  const auto judge_entries = [&](std::vector<int64_t> entries) {
    blocks[0] = {};
    blocks[0].input = i;
    blocks[0].entries = std::move(entries);
    blocks[0].resize(rows.size(), blocks[0].entries.size());
    fill_analytic(rows, blocks);
    start_rows(rows);
    fill_entries(rows, blocks[0]);
    return judge(blocks[0], rows, x, scale());
  };
  std::vector<int64_t> sampled;
  while (static_cast<int64_t>(sampled.size()) < std::min(kSamples, x.numel())) {
    const size_t k = generator.below(static_cast<uint64_t>(x.numel()));
    if (!std::exchange(taken[k], 1)) sampled.push_back(static_cast<int64_t>(k));
  }
  GradcheckInput judged = judge_entries(sampled);
  if (static_cast<int64_t>(judged.wrong.size()) >= kSamples / 8) {
    found.wrong = judged.wrong;
    found.diagnosis = judged.diagnosis;
    found.worst = judged.worst;
    found.where = fmt::format("{} of {} entries looked at, of {}", judged.wrong.size(),
                              sampled.size(), x.numel());
    return;
  }
  // The gradient of one weighted sum at a time is compared along a direction within each box.
  blocks[0] = {};
  blocks[0].input = i;
  blocks[0].entries = all_entries(x);
  blocks[0].resize(rows.size(), blocks[0].entries.size());
  fill_analytic(rows, blocks);
  const std::vector<double> gradients = std::move(blocks[0].analytic);
  start_rows(rows);
  Mover mover(x);
  const auto wrong_in = [&](const Box& box) {
    std::vector<double> v = direction(x.numel(), generator);
    double square = 0;
    for (size_t k = 0; k < v.size(); ++k) {
      if (!box.contains(unravel(static_cast<int64_t>(k), x.shape()))) v[k] = 0;
      square += v[k] * v[k];
    }
    for (double& value : v) value /= std::sqrt(square);
    JacobianBlock block;
    block.input = i;
    block.resize(rows.size(), 1);
    for (size_t r = 0; r < rows.size(); ++r)
      for (size_t k = 0; k < v.size(); ++k) block.analytic[r] += gradients[r * v.size() + k] * v[k];
    fill_column(rows, block, 0, first_step(1), input_name(x, i) + " along a direction in a box",
                [&](double h) { mover.along(v, h); });
    mover.along({}, 0);
    return judge(block, rows, x, scale()).counts.disagree > 0;
  };
  std::vector<Box> open{{Shape(), x.shape()}};
  for (int axis = 0; axis < x.ndim(); ++axis) open[0].low.push_back(0);
  std::vector<int64_t> single;
  int64_t looked = 0;
  while (!open.empty() && looked < kBoxes && single.size() < 32) {
    const Box box = open.back();
    open.pop_back();
    if (box.numel() == 1) {
      int64_t k = 0;
      for (int axis = 0; axis < x.ndim(); ++axis) k = k * x.shape()[axis] + box.low[axis];
      single.push_back(k);
      continue;
    }
    int longest = 0;
    for (int axis = 1; axis < x.ndim(); ++axis)
      if (box.high[axis] - box.low[axis] > box.high[longest] - box.low[longest]) longest = axis;
    for (const bool upper : {false, true}) {
      Box half = box;
      const int64_t middle = (box.low[longest] + box.high[longest]) / 2;
      (upper ? half.low : half.high)[longest] = middle;
      ++looked;
      if (wrong_in(half)) open.push_back(half);
    }
  }
  std::sort(single.begin(), single.end());
  if (!single.empty()) {
    judged = judge_entries(single);
    found.diagnosis = judged.diagnosis;
    found.worst = judged.worst;
  }
  found.wrong = judged.wrong;
  found.where = judged.wrong.empty()
                    ? fmt::format("no single entry found in {} directions", looked)
                    : fmt::format("{}; {}{} of {}", describe_entries(x.shape(), judged.wrong),
                                  open.empty() ? "" : "at least ", judged.wrong.size(), x.numel());
}

void Checker::finish() {
  for (GradcheckInput& found : report_.inputs) {
    const size_t i = static_cast<size_t>(found.input);
    if (reached_[i]) continue;
    if (found.counts.disagree > 0) {
      found.diagnosis = {Pattern::no_gradient,
                         0,
                         {},
                         "an input without any gradient: no path leads to it, but the function "
                         "depends on it"};
    } else if (report_.order == 1) {
      add_fault(fmt::format("no path: the result does not depend on {}", found.name));
    }
  }
  total_up(report_);
}

GradcheckReport Checker::run() {
  reached_.assign(inputs_.size(), 0);
  report_.mode = options_.mode;
  if (look_at_the_function()) {
    int64_t entries = 0;
    for (const Tensor& x : inputs_) entries += x.numel();
    if (report_.mode == GradcheckMode::automatic) {
      const double n = static_cast<double>(entries), m = static_cast<double>(y_.numel());
      const bool fits = n * m <= kFullElements &&
                        (kUsualEvaluations * n + 2 * m) * evaluation_seconds_ <= options_.seconds;
      report_.mode = fits ? GradcheckMode::full : GradcheckMode::projected;
    }
    if (report_.mode == GradcheckMode::full)
      run_full();
    else
      run_projected();
  }
  finish();
  report_.evaluations = evaluate_.count();
  report_.seconds = now() - begin_;
  report_.reproduce = reproduction(options_, report_);
  return std::move(report_);
}

}  // namespace

GradcheckReport gradcheck(const Function& f, std::span<const Tensor> inputs,
                          const GradcheckOptions& options) {
  check_inputs(inputs);
  return Checker(f, inputs, options, 1).run();
}

GradcheckReport gradgradcheck(const Function& f, std::span<const Tensor> inputs,
                              const GradcheckOptions& options) {
  check_inputs(inputs);
  Evaluation evaluate(f, inputs, options.buffers);
  const Tensor y = evaluate();
  Generator generator(options.seed, "dy");
  std::vector<Tensor> all(inputs.begin(), inputs.end());
  all.push_back(uniform(y.shape(), -1, 1, generator, y.dtype()));
  all.back().set_requires_grad().set_name("dy");
  const auto gradients = [&](Tape& tape, std::span<const Tensor> x, CreateGraph create_graph) {
    const std::span<const Tensor> in = x.first(inputs.size());
    const Tensor result = f(in);
    check(result.tape() == tape.serial() || result.requires_grad(),
          "gradgradcheck: no path: the result {} does not depend on any input through recorded "
          "operations",
          result.shape());
    return tape.gradient(result, in,
                         {.create_graph = create_graph, .dy = x.back(), .allow_unused = true});
  };
  const Function gradient_of_f = [&](std::span<const Tensor> x) {
    // On the caller's tape if there is one, so that it can be differentiated; else on its own.
    std::optional<Tape> own;
    Tape& tape = detail::recorder ? *detail::recorder : own.emplace();
    std::vector<Tensor> parts;
    for (const Tensor& dx : gradients(tape, x, CreateGraph::yes))
      if (dx) parts.push_back(flatten(dx));
    check(!parts.empty(), "gradgradcheck: no path: the result {} does not depend on any input",
          y.shape());
    return concat(parts);
  };
  Checker checker(gradient_of_f, all, options, 2);
  const auto once = [&](CreateGraph create_graph) {
    const Tape tape;
    std::vector<Tensor> dx = gradients(*detail::recorder, all, create_graph);
    evaluate.restore();
    return dx;
  };
  const std::vector<Tensor> recorded = once(CreateGraph::yes), plain = once(CreateGraph::no);
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!recorded[i] || !plain[i]) continue;
    const std::string difference = describe_difference(recorded[i], plain[i], 1e-9);
    if (!difference.empty())
      checker.add_fault(fmt::format("the gradient of {} is another one when it records itself: {}",
                                    input_name(inputs[i], i), difference));
  }
  return checker.run();
}

}  // namespace gradus
