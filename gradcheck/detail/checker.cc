#include <gradus/gradcheck/detail/checker.h>
#include <gradus/gradcheck/detail/warnings.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>

namespace gradus::checking {

namespace {
constexpr int64_t kFullElements = int64_t{1} << 20;  // of a Jacobian that is computed in full
constexpr double kUsualEvaluations = 8;              // of f, for one derivative
constexpr int64_t kConfirmed = 64;  // disagreements of an input, after which others are believed
}  // namespace

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::vector<double> random_direction(int64_t n, Generator& generator) {
  std::vector<double> v(static_cast<size_t>(n));
  double square = 0;
  for (double& value : v) {
    value = generator.normal();
    square += value * value;
  }
  for (double& value : v) value /= std::sqrt(square);
  return v;
}

std::vector<int64_t> all_entries(int64_t n) {
  std::vector<int64_t> entries(static_cast<size_t>(n));
  for (size_t k = 0; k < entries.size(); ++k) entries[k] = static_cast<int64_t>(k);
  return entries;
}

void Perturbation::entry(int64_t k, double h) {
  const Shape at = unravel(k, x_.shape());
  int64_t offset = 0;
  for (int i = 0; i < x_.ndim(); ++i) offset += at[i] * x_.strides()[i];
  Tensor element = as_strided(x_, {}, {}, offset);
  raw::fill(element, values_[static_cast<size_t>(k)] + h);
}

void Perturbation::along(std::span<const double> v, double h) {
  std::vector<double> moved = values_;
  for (size_t k = 0; k < moved.size() && h != 0; ++k) moved[k] += h * v[k];
  raw::copy(raw::cast(Tensor::from(moved, x_.shape()), x_.dtype()), x_);
}

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
    check(
        x.requires_grad(),
        "gradcheck: {} {} must be a leaf that requires a gradient; call set_requires_grad() on it "
        "or a clone, or let the function capture it",
        name, x.shape());
    raw::check_writable("gradcheck", x);
    for (size_t j = 0; j < i; ++j)
      check(!raw::overlap(inputs[j], x),
            "gradcheck: {} {} and {} {} share memory, so neither can be moved alone; clone one",
            input_name(inputs[j], j), inputs[j].shape(), name, x.shape());
    const std::string wrong = first_not_finite(x);
    check(wrong.empty(), "gradcheck: {} {} is not finite{}", name, x.shape(), wrong);
  }
}

void check_options(const GradcheckOptions& o) {
  check(o.resolution > 0, "gradcheck: resolution is {}, but must be positive", o.resolution);
  check(o.safety > 0, "gradcheck: safety is {}, but must be positive", o.safety);
  check(o.probes > 0, "gradcheck: probes is {}, but must be at least 1", o.probes);
  check(o.seconds >= 0, "gradcheck: seconds is {}, but must not be negative", o.seconds);
}

Checker::Checker(const Function& f, std::span<const Tensor> inputs, const GradcheckOptions& options,
                 int order)
    : inputs_(inputs),
      options_(options),
      inputs_as_before_(inputs),
      evaluate_(f, inputs, options.buffers),
      begin_(now()) {
  check_options(options);
  report_.subject = options.subject;
  report_.order = order;
  for (const Tensor& x : inputs) reached_.push_back(x.numel() == 0);  // no path has to be there
  for (const Tensor& x : inputs) singular_.emplace_back(static_cast<size_t>(x.numel()));
}

bool Checker::look_at_the_function() {
  std::vector<Tensor> before;
  for (const Tensor& x : inputs_) before.push_back(raw::clone(x));
  y_ = raw::clone(evaluate_());
  bool changed = false;
  for (size_t i = 0; i < inputs_.size(); ++i) {
    if (same_bytes(inputs_[i], before[i])) continue;
    changed = true;
    add_fault(fmt::format("the function changes {}", input_name(inputs_[i], i)));
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
  std::vector<double> values;
  for (const Tensor& x : inputs_)
    for (double value : x.to_vector<double>()) values.push_back(value);
  zero_size_ = 1e-3 * rms(y_values_) / std::max(1.0, rms(values));
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
      for (size_t k = 0; k < values.size(); ++k)
        if (!std::isfinite(values[k])) singular_[blocks[b].input][k] = 1;
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

/// The first point is not moved: its gradients must be those of the last row, bit for bit.
void Checker::expect_same_sweep(const JacobianRowSet& rows, std::span<const JacobianBlock> blocks,
                                std::span<const std::vector<std::vector<double>>> points) {
  for (size_t b = 0; b < blocks.size(); ++b)
    for (size_t c = 0; c < blocks[b].columns; ++c) {
      const double before = blocks[b].analytic[(rows.size() - 1) * blocks[b].columns + c];
      const double now = points[b][0][c];
      if (before == now || (std::isnan(before) && std::isnan(now))) continue;
      add_fault(fmt::format(
          "the gradients of {} differ from one sweep to the next, for the same dy: {} and {}",
          input_name(inputs_[blocks[b].input], blocks[b].input), before, now));
      return;
    }
}

void Checker::fill_analytic(const JacobianRowSet& rows, std::vector<JacobianBlock>& blocks,
                            const Directions* directions) {
  sweep(rows, blocks, directions, [&](size_t r, size_t b, size_t c, double value) {
    blocks[b].analytic[r * blocks[b].columns + c] = value;
  });
  if (any_singular()) blame_not_finite(rows);
  // What rounding makes of it is seen in the last row, a weighted sum of all.
  const JacobianRowSet last =
      rows.weights.empty() ? rows : JacobianRowSet{rows.output, {}, {rows.weights.back()}};
  std::vector<std::vector<std::vector<double>>> points(blocks.size());
  for (size_t b = 0; b < blocks.size(); ++b)
    points[b].assign(kNoisePoints, std::vector<double>(blocks[b].columns));
  near_the_point(is_f32() ? 0x1p-12 : 0x1p-34, 1, [&](size_t k) {
    sweep(last, blocks, directions,
          [&](size_t, size_t b, size_t c, double value) { points[b][k][c] = value; });
    if (k == 0) expect_same_sweep(rows, blocks, points);
  });
  for (size_t b = 0; b < blocks.size(); ++b) blocks[b].noise = rounding_noise(points[b], 0);
}

bool Checker::any_singular() const {
  return std::any_of(singular_.begin(), singular_.end(),
                     [](const auto& s) { return std::find(s.begin(), s.end(), 1) != s.end(); });
}

/// Reports which backward made the first gradient that is not finite.
void Checker::blame_not_finite(const JacobianRowSet& rows) {
  FirstNotFinite first;
  Tape tape;
  const Tensor y = evaluate_.recorded();
  for (size_t r = 0; r < rows.size() && first.found.empty(); ++r)
    tape.gradient(y, inputs_,
                  {.keep_graph = true, .dy = rows.dy(r, y.dtype()), .allow_unused = true});
  evaluate_.restore();
  std::string fault = "the gradient is not finite; " + first.found;
  if (std::find(report_.faults.begin(), report_.faults.end(), fault) == report_.faults.end())
    add_fault(std::move(fault));
}

/// Calls visit(k) for k = 0 .. 15 with all inputs moved by k spacings along a direction of about
/// unit norm, an entry x by |x|^power if that is more; false if it threw: the search that follows
/// will say where.
template <class Visit>
bool Checker::near_the_point(double spacing, double power, Visit visit) {
  std::vector<std::unique_ptr<Perturbation>> perturbations;
  std::vector<std::vector<double>> directions;
  Generator generator(options_.seed, "noise");
  double entries = 0;
  for (const Tensor& x : inputs_) entries += static_cast<double>(x.numel());
  for (const Tensor& x : inputs_) {
    perturbations.push_back(std::make_unique<Perturbation>(x));
    std::vector<double> v = perturbations.back()->values();
    for (double& value : v)  // of no round length, or the moved points round as this one does
      value = (2 * generator.uniform() - 1) * std::max(1.0, std::pow(std::abs(value), power)) /
              std::sqrt(entries);
    const std::vector<uint8_t>& singular = singular_[directions.size()];
    for (size_t k = 0; k < v.size(); ++k)
      if (singular[k]) v[k] = 0;
    directions.push_back(std::move(v));
  }
  try {
    for (int k = 0; k < kNoisePoints; ++k) {
      for (size_t i = 0; i < perturbations.size(); ++i)
        perturbations[i]->along(directions[i], k * spacing);
      visit(static_cast<size_t>(k));
    }
  } catch (const std::exception&) {
    return false;
  }
  return true;
}

/// Prepares for numeric derivatives of these rows: their values, and how far rounding moves them.
void Checker::start_rows(const JacobianRowSet& rows) {
  at_0_.resize(rows.size());
  rows.apply(y_values_, at_0_);
  noise_.assign(rows.size(), 0);
  // Rounding that shows at once, and that of coarser steps inside, e.g. of a cast to f32 and back.
  // The latter's points keep to where differences are taken: further off, the function shows, too.
  using Spacing = std::pair<double, double>;
  const std::vector<Spacing> spacings = is_f32() ? std::vector{Spacing{0x1p-12, 1}}
                                                 : std::vector{Spacing{0x1p-34, 1}, {0x1p-20, 0.5}};
  for (const auto& [spacing, power] : spacings) {
    std::vector<std::vector<double>> points(kNoisePoints, at_0_);
    near_the_point(spacing, power, [&](size_t k) {
      evaluate_.values(y_moved_);
      if (y_moved_.size() != y_values_.size()) return;
      rows.apply(y_moved_, points[k]);
      for (size_t r = 0; r < rows.size(); ++r)
        if (!std::isfinite(points[k][r])) points[k][r] = at_0_[r];
    });
    const std::vector<double> noise = rounding_noise(points, is_f32() ? 0x1p-23 : 0x1p-52);
    for (size_t r = 0; r < rows.size(); ++r) noise_[r] = std::max(noise_[r], noise[r]);
  }
}

/// The numeric side of one column: the line moves by move(h).
void Checker::fill_column(const JacobianRowSet& rows, JacobianBlock& block, size_t column,
                          double step, const std::string& where,
                          const std::function<void(double)>& move) {
  const Line line = [&](double h, std::span<double> values) {
    move(h);
    try {
      if (!evaluate_.values(y_moved_)) return false;
    } catch (const std::exception& error) {
      fail("gradcheck: the function threw with {} moved by {:.3g}: {}", where, h, error.what());
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
      if (error > scale().tolerance(block.bound[at], std::abs(block.numeric[at]))) return true;
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
    if (block.confirmed >= kConfirmed || !doubtful()) return;
    estimate(other * step, 6);
    for (size_t r = 0; r < rows.size(); ++r) {
      const size_t at = r * block.columns + column;
      const double apart =
          std::abs(block.numeric[at] - d.value[r]) - std::max(d.bound[r], block.bound[at]);
      if (d.bound[r] < block.bound[at]) {
        block.numeric[at] = d.value[r];
        block.bound[at] = d.bound[r];
      }
      block.bound[at] = std::max({block.bound[at], apart, d.jump[r] / 2});
      block.kink[at] |= d.kink[r];
    }
  }
  block.confirmed += doubtful();
}

double Checker::first_step(double x) const {
  return (is_f32() ? 0x1p-3 : 0x1p-6) *
         std::exp2(std::ceil(std::log2(std::max(1.0, std::sqrt(std::abs(x))))));
}

JacobianRowSet Checker::random_rows() const {
  Generator generator(options_.seed, "output");
  JacobianRowSet rows{y_.shape(), {}, {}};
  for (int i = 0; i < std::max(1, options_.probes); ++i)
    rows.weights.push_back(random_direction(y_.numel(), generator));
  return rows;
}

JacobianRowSet Checker::all_rows() const {
  JacobianRowSet rows = random_rows();
  rows.elements = all_entries(y_.numel());
  rows.weights.resize(y_.numel() > 1 ? 1 : 0);
  return rows;
}

JacobianBlock Checker::whole_block(size_t input, size_t rows) const {
  JacobianBlock block;
  block.input = input;
  block.entries = all_entries(inputs_[input].numel());
  block.resize(rows, block.entries.size());
  return block;
}

void Checker::fill_entries(const JacobianRowSet& rows, JacobianBlock& block) {
  const Tensor& x = inputs_[block.input];
  Perturbation perturbation(x);
  for (size_t c = 0; c < block.columns; ++c) {
    const int64_t k = block.entries[c];
    const double centre = perturbation.values()[static_cast<size_t>(k)];
    fill_column(rows, block, c, first_step(centre),
                fmt::format("{} {}", input_name(x, block.input), unravel(k, x.shape())),
                [&](double h) { perturbation.entry(k, h); });
    perturbation.entry(k, 0);
  }
}

void Checker::fill_directions(const JacobianRowSet& rows, JacobianBlock& block,
                              std::span<const std::vector<double>> directions) {
  const Tensor& x = inputs_[block.input];
  Perturbation perturbation(x);
  for (size_t c = 0; c < block.columns; ++c)
    fill_column(rows, block, c, first_step(1),
                input_name(x, block.input) + " along a random direction",
                [&](double h) { perturbation.along(directions[c], h); });
}

void Checker::run_full() {
  const JacobianRowSet rows = all_rows();
  std::vector<JacobianBlock> blocks;
  int64_t entries = 0;
  for (size_t i = 0; i < inputs_.size(); ++i) {
    blocks.push_back(whole_block(i, rows.size()));
    entries += inputs_[i].numel();
  }
  fill_analytic(rows, blocks);
  start_rows(rows);
  for (JacobianBlock& block : blocks) {
    fill_entries(rows, block);
    report_.inputs.push_back(judge(block, rows, inputs_[block.input], scale()));
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
    const double size = std::max(rms(block.numeric), zero_size_);
    double tolerance = 0;
    for (size_t at = 0; at < rows * block.columns; ++at)
      tolerance = std::max(tolerance, scale().tolerance(block.bound[at], size));
    report_.miss_probability =
        std::max(report_.miss_probability,
                 miss_probability(options_.probes, tolerance / (size * report_.miss_size)));
  }
}

void Checker::run_projected() {
  const JacobianRowSet rows = random_rows();
  std::vector<JacobianBlock> blocks(inputs_.size());
  Directions directions(inputs_.size());
  Generator generator(options_.seed, "input");
  for (size_t i = 0; i < inputs_.size(); ++i) {
    const int64_t n = inputs_[i].numel();
    blocks[i].input = i;
    blocks[i].resize(rows.size(), static_cast<size_t>(std::min<int64_t>(n, options_.probes)));
    for (size_t c = 0; c < blocks[i].columns; ++c)
      directions[i].push_back(random_direction(n, generator));
  }
  fill_analytic(rows, blocks, &directions);
  start_rows(rows);
  for (JacobianBlock& block : blocks) {
    fill_directions(rows, block, directions[block.input]);
    report_.inputs.push_back(judge(block, rows, inputs_[block.input], scale()));
  }
  state_miss_probability(blocks, rows.size());
  localize();
  report_.method = fmt::format(
      "projected on {} random directions of the output and up to as many of each input, against "
      "Ridders' differences",
      rows.size());
}

GradcheckReport Checker::compare(const JacobianRowSet& rows, std::vector<JacobianBlock> blocks,
                                 std::string method) {
  report_.mode = GradcheckMode::full;
  report_.method = std::move(method);
  for (const JacobianBlock& block : blocks)
    report_.inputs.push_back(judge(block, rows, inputs_[block.input], scale()));
  find_swapped_inputs(blocks, rows.size(), inputs_, report_.inputs);
  return finish();
}

bool Checker::full_is_affordable() {
  double n = 0, m = static_cast<double>(y_.numel());
  for (const Tensor& x : inputs_) n += static_cast<double>(x.numel());
  if (n * m > kFullElements) return false;
  const auto affordable = [&] {
    return (kUsualEvaluations * n + 2 * m) * evaluation_seconds_ <= options_.seconds;
  };
  // One slow evaluation may be the machine's fault.
  for (int i = 0; i < 3 && !affordable(); ++i) {
    const double start = now();
    evaluate_();
    evaluation_seconds_ = std::min(evaluation_seconds_, now() - start);
  }
  return affordable();
}

GradcheckReport Checker::run() {
  report_.mode = options_.mode;
  if (!look_at_the_function()) return finish();
  if (is_empty()) return finish_empty();
  if (report_.mode == GradcheckMode::automatic)
    report_.mode = full_is_affordable() ? GradcheckMode::full : GradcheckMode::projected;
  if (report_.mode == GradcheckMode::full)
    run_full();
  else
    run_projected();
  return finish();
}

bool Checker::is_empty() const {
  return y_.numel() == 0 || std::all_of(inputs_.begin(), inputs_.end(),
                                        [](const Tensor& x) { return x.numel() == 0; });
}

/// No derivative exists, so that none is wrong; a sweep has to bring gradients of the right shapes.
GradcheckReport Checker::finish_empty() {
  report_.mode = GradcheckMode::full;
  const JacobianRowSet rows{y_.shape(), {}, {std::vector<double>(y_values_.size())}};
  std::vector<JacobianBlock> blocks(inputs_.size());
  for (size_t i = 0; i < inputs_.size(); ++i) blocks[i].input = i;
  sweep(rows, blocks, nullptr, [](size_t, size_t, size_t, double) {});
  for (size_t i = 0; i < inputs_.size(); ++i) {
    GradcheckInput& input = report_.inputs.emplace_back();
    input.input = static_cast<int>(i);
    input.name = input_name(inputs_[i], i);
    input.shape = inputs_[i].shape();
  }
  report_.method = "a sweep alone";
  report_.warnings.push_back(
      fmt::format("nothing to check: {} has no elements, so that there are no derivatives",
                  y_.numel() == 0 ? "the result" : "every input"));
  return finish();
}

GradcheckReport Checker::finish() {
  for (GradcheckInput& found : report_.inputs) {
    if (reached_[static_cast<size_t>(found.input)]) continue;
    if (found.counts.disagree > 0)
      found.diagnosis = {Pattern::no_gradient,
                         "an input without any gradient: no path leads to it, but the function "
                         "depends on it"};
    else if (report_.order == 1)
      add_fault(fmt::format("no path: the result does not depend on {}", found.name));
  }
  total_up(report_);
  report_.evaluations = evaluate_.count();
  report_.seconds = now() - begin_;
  report_.reproduce = reproduction(options_, report_);
  return std::move(report_);
}

}  // namespace gradus::checking
