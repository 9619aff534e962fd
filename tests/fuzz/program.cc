#include "tests/fuzz/program.h"

#include <fmt/ranges.h>
#include <gradus/gradus.h>

#include <array>
#include <cmath>
#include <functional>
#include <memory>

#include "tests/layouts.h"

namespace gradus::fuzz {

namespace {

constexpr double kNormTerms = 16,  // of 1 / sqrt(eps) = 316: what rounding leaves of it
    kInf = std::numeric_limits<double>::infinity(), kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr int kMostOps = 12;
constexpr int64_t kMostElements = 2048;

using Values = std::vector<double>;
using Op = std::function<Tensor(std::span<const Tensor>)>;

/// The program's bytes, one after another; zeros after the last.
class Bytes {
 public:
  explicit Bytes(std::span<const uint8_t> bytes) : bytes_(bytes) {}
  bool ended() const { return bytes_.empty(); }
  int64_t below(int64_t n) {
    if (bytes_.empty()) return 0;
    const int64_t byte = bytes_[0];
    bytes_ = bytes_.subspan(1);
    return byte % n;
  }
  bool one_in(int64_t n) { return below(n) == n - 1; }
  template <class T, size_t n>
  T one_of(const T (&choices)[n]) {
    return choices[below(static_cast<int64_t>(n))];
  }
  template <class T>
  T one_of(std::initializer_list<T> choices) {
    return choices.begin()[below(static_cast<int64_t>(choices.size()))];
  }

 private:
  std::span<const uint8_t> bytes_;
};

/// A call of the program, and how far f32 may be from f64 in it.
struct Step {
  const char* name;
  Op f;
  std::vector<size_t> inputs;
  size_t output;
  double slack;  // of the usual bound
  double terms;  // how much larger than inputs and dy what cancels may be
  int power;     // how often one input is a factor of what cancels in a gradient
};

/// What f64 says, and how far f32 may be from it; nothing where that is `beyond` f32's range.
struct Expected {
  Values value, bound;
  std::vector<bool> beyond;
};

// Squares of what lies beyond leave f32, and so may what is computed on the way.
bool is_moderate(const Values& values) {
  return std::all_of(values.begin(), values.end(), [](double v) {
    const double size = std::abs(v);
    return v == 0 || !std::isfinite(v) || (size > 1e-8 && size < 1e8);
  });
}

/// Where f32 overflows, or loses digits.
bool is_beyond(double value) {
  const double size = std::abs(value);
  return size > 1e37 || (size > 0 && size < 1e-37);
}

Tensor moved(const Tensor& x, double by, Generator* signs) {
  Values values = x.to_vector<double>();
  if (signs)
    for (double& v : values)
      if (std::isfinite(v)) v *= 1 + (signs->uint32() % 2 ? by : -by);
  return Tensor::from(values, x.shape());
}

using Evaluate = std::function<std::vector<Values>(double by, Generator* signs)>;

/// Widens the bounds by what moved arguments do to the results.
void widen(std::vector<Expected>& all, const Evaluate& evaluate, double by, Generator& signs,
           int times) {
  const double kinks = times > 1 ? 4 : 1;  // one move takes a part of them to the other side
  for (int k = 0; k < times; ++k) {
    const std::vector<Values> others = evaluate(by, &signs);
    for (size_t i = 0; i < all.size(); ++i) {
      double largest = 0;
      for (size_t j = 0; j < all[i].value.size(); ++j) {
        const double apart = std::abs(others[i][j] - all[i].value[j]);
        if (std::isfinite(apart)) largest = std::max(largest, apart);
      }
      for (size_t j = 0; j < all[i].value.size(); ++j) {
        all[i].bound[j] = std::max(all[i].bound[j], kinks * largest);
        if (largest / by > 1e37 || is_beyond(all[i].value[j])) all[i].beyond[j] = true;
      }
    }
  }
}

double largest_of(const Values& values) {
  double largest = 0;
  for (double v : values)
    if (std::isfinite(v)) largest = std::max(largest, std::abs(v));
  return largest;
}

/// `size` is what terms that cancel within an op may reach beside its results.
std::vector<Expected> expected(const Evaluate& evaluate, double size, double by, Generator& signs,
                               int times) {
  std::vector<Expected> all;
  for (Values& values : evaluate(0, nullptr)) {
    const double largest = std::max(largest_of(values), size);
    const size_t n = values.size();
    all.push_back(
        {std::move(values), Values(n, by / 4 * largest + 1e-30), std::vector<bool>(n, false)});
  }
  widen(all, evaluate, by, signs, times);
  return all;
}

/// The first element that is further away than it may be; n if none is.
size_t first_wrong(const Values& found, const Expected& e) {
  for (size_t j = 0; j < found.size(); ++j) {
    if (e.beyond[j] || found[j] == e.value[j]) continue;
    if (std::isnan(found[j]) && std::isnan(e.value[j])) continue;
    if (!(std::abs(found[j] - e.value[j]) <= e.bound[j])) return j;
  }
  return found.size();
}

class Program {
 public:
  explicit Program(std::span<const uint8_t> bytes)
      : bytes_(bytes), generator_(static_cast<uint64_t>(bytes.size())) {}

  Outcome run();

  Bytes& bytes() { return bytes_; }
  const Shape& shape(size_t i) const { return values_[i].shape(); }
  Shape any_shape();
  Tensor numbers(const Shape& shape, int64_t kind);
  Tensor lay_out(const Tensor& x);
  size_t leaf(const Shape& shape, int64_t kind);
  size_t leaf(const Shape& shape) { return leaf(shape, bytes_.below(6)); }
  /// Any value so far, or a new leaf.
  size_t any();
  /// A value of this shape: one of those, or a new leaf.
  size_t of(const Shape& shape);
  /// A shape's axis, seldom one that it has not.
  int64_t axis(const Shape& shape);
  Axes axes(const Shape& shape);
  Tensor mask(const Shape& shape);
  Tensor indices(const Shape& shape, int64_t n);
  /// Calls f with these values, keeps its result and compares it.
  void call(const char* name, std::vector<size_t> inputs, Op f, double slack = 1, double terms = 1,
            int power = 1);

 private:
  std::vector<Tensor> doubles(const Step& step, double by, Generator* signs) const;
  void compare(const Step& step, const Tensor& y);
  void sweep(Tape& tape);
  void compare_gradients();
  std::vector<Values> gradients(const Step& step, double by, Generator* signs) const;
  void found(const std::string& what);

  Bytes bytes_;
  Generator generator_;
  std::vector<Tensor> values_, weights_, gradients_;
  std::vector<bool> leaf_;
  std::vector<Step> steps_;
  bool create_graph_ = false;
  std::string listing_;
  Outcome outcome_;
};

void Program::found(const std::string& what) {
  if (outcome_.finding.empty()) outcome_.finding = what + "\n" + listing_;
}

Shape Program::any_shape() {
  constexpr int64_t sizes[] = {1, 2, 3, 4, 5, 0, 7, 8, 9, 16, 17, 31, 33, 64, 65, 130};
  Shape shape;
  for (int64_t n = bytes_.below(5); n > 0; --n) {
    const int64_t size = bytes_.one_of(sizes);
    shape.push_back(size * shape.numel() > kMostElements ? 2 : size);
  }
  return shape;
}

Tensor Program::numbers(const Shape& shape, int64_t kind) {
  constexpr double specials[] = {0, -0.0, kInf, -kInf, kNaN, 1, -1, 1e-42, 3e38, -1e20};
  Tensor x = empty(shape);
  float* const to = x.mutable_data<float>();
  for (int64_t i = 0; i < x.numel(); ++i) {
    double v = 4 * generator_.uniform() - 2;
    if (kind == 1) v = std::round(2 * v);
    if (kind == 2) v = std::abs(v) + 0.1;
    if (kind == 3) v *= std::exp2(std::round(12 * generator_.uniform() - 6));
    if (kind == 4 && generator_.below(8) == 0) v = specials[generator_.below(10)];
    to[i] = static_cast<float>(v);
  }
  return x;
}

Tensor Program::lay_out(const Tensor& x) {
  const auto all = test::layouts(x.shape());
  return test::laid_out(x, all[static_cast<size_t>(bytes_.below(16)) % all.size()]);
}

size_t Program::leaf(const Shape& shape, int64_t kind) {
  Tensor x = lay_out(numbers(shape, kind));
  if (!bytes_.one_in(5)) x.set_requires_grad();
  values_.push_back(x);
  leaf_.push_back(true);
  listing_ +=
      fmt::format("  {}: leaf {} strides ({}) kind {}\n", values_.size() - 1, shape,
                  fmt::join(std::span(x.strides(), static_cast<size_t>(x.ndim())), ", "), kind);
  return values_.size() - 1;
}

size_t Program::any() {
  const int64_t n = static_cast<int64_t>(values_.size()), i = bytes_.below(n + 1);
  return i == n ? leaf(any_shape()) : static_cast<size_t>(n - 1 - i);
}

size_t Program::of(const Shape& shape) {
  if (bytes_.below(2) == 0)
    for (size_t i = values_.size(); i-- > 0;)
      if (values_[i].shape() == shape) return i;
  return bytes_.one_in(40) ? any() : leaf(shape);
}

int64_t Program::axis(const Shape& shape) {
  const int64_t n = shape.ndim();
  return bytes_.one_in(40) ? n + bytes_.below(3) : bytes_.below(2 * std::max<int64_t>(n, 1)) - n;
}

Axes Program::axes(const Shape& shape) {
  Axes axes;
  const int64_t chosen = bytes_.below(256);
  for (int i = 0; i < shape.ndim(); ++i)
    if (chosen >> i & 1) axes.push_back(chosen & 128 ? i - shape.ndim() : i);
  return axes;
}

Tensor Program::mask(const Shape& shape) { return greater(numbers(shape, bytes_.below(2)), 0); }

Tensor Program::indices(const Shape& shape, int64_t n) {
  Tensor x = empty(shape, DType::i64);
  for (int64_t i = 0; i < x.numel(); ++i)
    x.mutable_data<int64_t>()[i] =
        static_cast<int64_t>(generator_.below(static_cast<uint64_t>(std::max<int64_t>(n, 1))));
  if (x.numel() > 0 && bytes_.one_in(40)) x.mutable_data<int64_t>()[0] = n - 2 * bytes_.below(9);
  return lay_out(x);
}

std::vector<Tensor> Program::doubles(const Step& step, double by, Generator* signs) const {
  std::vector<Tensor> inputs;
  for (size_t i : step.inputs) inputs.push_back(moved(values_[i], by, signs));
  return inputs;
}

void Program::call(const char* name, std::vector<size_t> inputs, Op f, double slack, double terms,
                   int power) {
  const auto before = listing_.size();
  listing_ += fmt::format("  {}: {}({})", values_.size(), name, fmt::join(inputs, ", "));
  std::vector<Tensor> arguments;
  for (size_t i : inputs) arguments.push_back(values_[i]);
  Tensor y;
  try {
    y = f(arguments);
  } catch (const Error&) {
    ++outcome_.errors;
    listing_.resize(before);
    return;
  }
  listing_ += fmt::format(" -> {}\n", y.shape());
  ++outcome_.ops;
  const Step step{name, std::move(f), std::move(inputs), values_.size(), slack, terms, power};
  compare(step, y);
  const bool again =
      std::any_of(values_.begin(), values_.end(), [&](const Tensor& x) { return x.is(y); });
  if (!is_floating(y.dtype()) || y.numel() > 2 * kMostElements || again) return;
  values_.push_back(y);
  leaf_.push_back(false);
  steps_.push_back(step);
}

void Program::compare(const Step& step, const Tensor& y) {
  double size = step.terms;
  for (size_t i : step.inputs) {
    const Values values = values_[i].to_vector<double>();
    if (!is_moderate(values)) return;
    // Of a sum that cancels, or underflows, times infinity f32 and f64 may tell different things.
    if (step.terms > 1 && !all_finite(values_[i])) return;
    size *= std::max(1.0, largest_of(values));
  }
  const Evaluate evaluate = [&](double by, Generator* signs) {
    const NoRecord pause;
    return std::vector<Values>{step.f(doubles(step, by, signs)).to_vector<double>()};
  };
  Generator signs(17);
  const double by = 0x1p-16 * step.slack;
  std::vector<Expected> e = expected(evaluate, size, by, signs, 1);
  const Values values = y.to_vector<double>();
  ++outcome_.compared;
  const std::string_view name = step.name;
  outcome_.functions.insert(name.substr(0, name.find(' ')));
  if (values.size() != e[0].value.size())
    return found(
        fmt::format("{}: {} elements, but {} in f64", step.name, values.size(), e[0].value.size()));
  if (first_wrong(values, e[0]) == values.size()) return;
  widen(e, evaluate, by, signs, 100);
  const size_t at = first_wrong(values, e[0]);
  if (at < values.size())
    found(fmt::format("{}: element {} is {}, not {} +- {}", step.name, at, values[at],
                      e[0].value[at], e[0].bound[at]));
}

/// Back from the sum of the results, each times constant weights; of their squares, whose gradients
/// depend on the results, where the sweep records itself.
void Program::sweep(Tape& tape) {
  create_graph_ = bytes_.one_in(3);
  Tensor total;
  for (size_t i = 0; i < values_.size(); ++i) {
    weights_.push_back({});
    if (leaf_[i] || (i + 1 < values_.size() && bytes_.below(2))) continue;
    weights_[i] = numbers(values_[i].shape(), bytes_.below(4));
    const Tensor part = sum(mul(create_graph_ ? square(values_[i]) : values_[i], weights_[i]));
    total = total ? add(total, part) : part;
  }
  gradients_.resize(values_.size());
  std::vector<Tensor> xs;
  std::vector<size_t> places;
  for (size_t i = 0; i < values_.size(); ++i)
    if (needs_grad(values_[i])) xs.push_back(values_[i]), places.push_back(i);
  if (!total || !needs_grad(total) || xs.empty()) return;
  const auto create_graph = create_graph_ ? CreateGraph::yes : CreateGraph::no;
  const std::vector<Tensor> dx = tape.gradient(
      total, xs, {.create_graph = create_graph, .keep_graph = true, .allow_unused = true});
  for (size_t i = 0; i < xs.size(); ++i) gradients_[places[i]] = dx[i];
  if (create_graph == CreateGraph::yes) {
    Tensor square;
    for (const Tensor& d : dx)
      if (d && needs_grad(d)) square = square ? add(square, sum(mul(d, d))) : sum(mul(d, d));
    if (square && needs_grad(square))
      tape.gradient(square, xs,
                    {.create_graph = create_graph, .keep_graph = true, .allow_unused = true});
  }
  for (uint32_t i = 0; i < tape.size(); ++i) outcome_.recorded.insert(tape.info(i).op);
  tape.backward(total);
  for (size_t i = 0; i < values_.size(); ++i) {
    if (!leaf_[i] || !values_[i].requires_grad()) continue;
    const Tensor &grad = values_[i].grad(), &d = gradients_[i];
    if (!grad != !d) found(fmt::format("backward and gradient disagree on a path to {}", i));
  }
}

std::vector<Values> Program::gradients(const Step& step, double by, Generator* signs) const {
  std::vector<Tensor> inputs = doubles(step, by, signs);
  for (Tensor& x : inputs) x.set_requires_grad();
  Tape tape;
  const Tensor y = step.f(inputs);
  std::vector<Tensor> dx(inputs.size());
  if (needs_grad(y))
    dx = tape.gradient(y, inputs,
                       {.dy = moved(gradients_[step.output], by, signs), .allow_unused = true});
  std::vector<Values> all;
  for (size_t i = 0; i < dx.size(); ++i)
    all.push_back(dx[i] ? dx[i].to_vector<double>()
                        : Values(static_cast<size_t>(inputs[i].numel()), 0));
  return all;
}

void Program::compare_gradients() {
  std::vector<Expected> sums(values_.size());
  std::vector<bool> skip(values_.size(), false);
  const auto add_up = [&](int times) {
    for (size_t i = 0; i < values_.size(); ++i) {
      const auto n = static_cast<size_t>(values_[i].numel());
      sums[i] = {weights_[i] ? weights_[i].to_vector<double>() : Values(n, 0), Values(n, 0),
                 std::vector<bool>(n, false)};
      if (!create_graph_ || !weights_[i]) continue;
      const Values values = values_[i].to_vector<double>();
      for (size_t j = 0; j < n; ++j) {
        sums[i].value[j] *= 2 * values[j];
        sums[i].bound[j] = 0x1p-22 * std::abs(sums[i].value[j]);
        sums[i].beyond[j] = is_beyond(sums[i].value[j]);
      }
    }
    Generator signs(23);
    for (const Step& step : steps_) {
      if (!gradients_[step.output]) continue;
      const Tensor &y = values_[step.output], &dy = gradients_[step.output];
      bool moderate = all_finite(y) && all_finite(dy) && is_moderate(y.to_vector<double>()) &&
                      is_moderate(dy.to_vector<double>());
      for (size_t i : step.inputs) {
        moderate = moderate && is_moderate(values_[i].to_vector<double>());
        // A backward in recorded ops may multiply 0 by infinity where the fused one does not.
        if (create_graph_ || step.terms > 1) moderate = moderate && all_finite(values_[i]);
      }
      if (!moderate) {
        for (size_t i : step.inputs) skip[i] = true;
        continue;
      }
      // The softmax of one large element, a saturated tanh: their factor of dy is near 0 as the
      // difference of terms that are not.
      double size = step.terms * largest_of(gradients_[step.output].to_vector<double>());
      for (size_t i : step.inputs)
        size *= std::pow(std::max(1.0, largest_of(values_[i].to_vector<double>())), step.power);
      const std::vector<Expected> parts =
          expected([&](double by, Generator* s) { return gradients(step, by, s); }, size,
                   0x1p-16 * step.slack, signs, times);
      // A recurrence's dh that leaves f32's range on its way back, beside an x of 0.
      const bool leaves = step.terms > 1 && std::ranges::any_of(parts, [](const Expected& part) {
                            return !(largest_of(part.value) < 1e37);
                          });
      for (size_t k = 0; k < parts.size(); ++k) {
        Expected& to = sums[step.inputs[k]];
        if (leaves) skip[step.inputs[k]] = true;
        for (size_t j = 0; j < to.value.size(); ++j) {
          to.value[j] += parts[k].value[j];
          to.bound[j] += parts[k].bound[j] + 0x1p-22 * std::abs(to.value[j]);
          if (parts[k].beyond[j]) to.beyond[j] = true;
        }
      }
    }
  };
  const auto wrong = [&] {
    for (size_t i = 0; i < values_.size(); ++i) {
      if (!gradients_[i] || skip[i]) continue;
      const Values values = gradients_[i].to_vector<double>();
      ++outcome_.compared;
      const size_t at = first_wrong(values, sums[i]);
      if (at < values.size())
        return fmt::format("gradient of {}: element {} is {}, not {} +- {}", i, at, values[at],
                           sums[i].value[at], sums[i].bound[at]);
    }
    return std::string();
  };
  add_up(1);
  if (wrong().empty()) return;
  add_up(100);
  const std::string what = wrong();
  if (!what.empty()) found(what);
}

// The ops. Each reads its arguments off the bytes, seldom bad ones.

using Unary = Tensor (*)(const Tensor&);
using Binary = Tensor (*)(const Tensor&, const Tensor&);

void unary(Program& p) {
  struct Row {
    const char* name;
    Unary f;
  };
  static constexpr Row rows[] = {
      {"exp", exp},
      {"log", log},
      {"sqrt", sqrt},
      {"rsqrt", rsqrt},
      {"abs", abs},
      {"sin", sin},
      {"cos", cos},
      {"tanh", tanh},
      {"erf", erf},
      {"square", square},
      {"reciprocal", reciprocal},
      {"sigmoid", sigmoid},
      {"relu", relu},
      {"silu", silu},
      {"softplus", softplus},
      {"neg", neg},
      {"step", step},
      {"sign", sign},
      {"contiguous", contiguous},
      {"gelu", [](const Tensor& x) { return gelu(x); }},
      {"gelu tanh", [](const Tensor& x) { return gelu(x, GeluForm::tanh); }}};
  const Row row = p.bytes().one_of(rows);
  p.call(row.name, {p.any()}, [f = row.f](auto x) { return f(x[0]); });
}

void binary(Program& p) {
  struct Row {
    const char* name;
    Binary f;
  };
  static constexpr Row rows[] = {{"add", add},
                                 {"sub", sub},
                                 {"mul", mul},
                                 {"div", div},
                                 {"maximum", maximum},
                                 {"minimum", minimum},
                                 {"pow", pow},
                                 {"less", less},
                                 {"equal", equal},
                                 {"greater_equal", greater_equal},
                                 {"greater", greater},
                                 {"less_equal", less_equal},
                                 {"not_equal", not_equal}};
  const Row row = p.bytes().one_of(rows);
  const size_t a = p.any();
  Shape shape = p.shape(a);
  const int64_t ones = p.bytes().below(64);
  for (int i = 0; i < shape.ndim(); ++i)
    if (ones >> i & 1 && ones < 32) shape[i] = 1;
  if (ones % 7 == 6 && shape.ndim() > 0) shape = shape.erased(0);
  p.call(row.name, {a, p.of(shape)}, [f = row.f](auto x) { return f(x[0], x[1]); });
}

void logic(Program& p) {
  const size_t a = p.any();
  const int64_t which = p.bytes().below(3);
  constexpr const char* names[] = {"logical_and", "logical_or", "logical_not"};
  p.call(names[which], {a, p.of(p.shape(a))}, [=](auto x) {
    const Tensor left = greater(x[0], 0), right = less(x[1], 0.5);
    return which == 0   ? logical_and(left, right)
           : which == 1 ? logical_or(left, right)
                        : logical_not(left);
  });
}

void with_number(Program& p) {
  struct Row {
    const char* name;
    Tensor (*f)(const Tensor& x, double n, double m);
  };
  static constexpr Row rows[] = {
      {"add number", [](const Tensor& x, double n, double) { return add(x, n); }},
      {"mul number", [](const Tensor& x, double n, double) { return mul(x, n); }},
      {"div number", [](const Tensor& x, double n, double) { return div(x, n); }},
      {"div of a number", [](const Tensor& x, double n, double) { return div(n, x); }},
      {"pow number", [](const Tensor& x, double n, double) { return pow(x, n); }},
      {"affine", [](const Tensor& x, double n, double m) { return affine(x, n, m); }},
      {"clamp", [](const Tensor& x, double n, double m) { return clamp(x, n, m); }},
      {"inside", [](const Tensor& x, double n, double m) { return inside(x, n, m); }},
      {"sub number", [](const Tensor& x, double n, double) { return sub(x, n); }},
      {"sub of a number", [](const Tensor& x, double n, double) { return sub(n, x); }},
      {"less number", [](const Tensor& x, double n, double) { return less(x, n); }},
      {"less_equal number", [](const Tensor& x, double n, double) { return less_equal(x, n); }},
      {"greater number", [](const Tensor& x, double n, double) { return greater(x, n); }},
      {"greater_equal number",
       [](const Tensor& x, double n, double) { return greater_equal(x, n); }},
      {"equal number", [](const Tensor& x, double n, double) { return equal(x, n); }},
      {"not_equal number", [](const Tensor& x, double n, double) { return not_equal(x, n); }}};
  constexpr double numbers[] = {0, 1, -1, 2, 3, 0.5, -0.5, -2, 1.5, 4, kInf, kNaN, 1e39, -3, 0.25};
  const double n = p.bytes().one_of(numbers), m = p.bytes().one_of(numbers);
  const Row row = p.bytes().one_of(rows);
  p.call(row.name, {p.any()}, [=, f = row.f](auto x) { return f(x[0], n, m); });
}

// To another dtype and back.
void casts(Program& p) {
  const DType dtype = p.bytes().one_of({DType::f64, DType::f64, DType::i64, DType::boolean});
  p.call("cast", {p.any()}, [=](auto x) { return cast(cast(x[0], dtype), x[0].dtype()); });
}

/// Gradients that have functions of their own; their other argument counts as a number, too.
void backward_functions(Program& p) {
  const size_t a = p.any(), b = p.of(p.shape(a));
  const int64_t which = p.bytes().below(4);
  constexpr const char* names[] = {"relu_gradient", "softmax_backward", "ahead_gradient",
                                   "behind_gradient"};
  p.call(names[which], {a, b}, [=](auto x) {
    switch (which) {
      case 0:
        return relu_gradient(x[0], x[1]);
      case 1:
        return softmax_backward(x[1], x[0]);
      case 2:
        return ahead_gradient(x[0], sign(x[1]));
      default:
        return behind_gradient(x[0], sign(x[1]));
    }
  });
}

void reduction(Program& p) {
  const size_t a = p.any();
  const Axes axes = p.axes(p.shape(a));
  const int64_t which = p.bytes().below(7);
  const bool keepdim = p.bytes().below(2);
  constexpr const char* names[] = {"sum", "mean", "var", "max", "min", "argmax", "var of all"};
  p.call(names[which], {a}, [=](auto x) {
    switch (which) {
      case 0:
        return sum(x[0], axes, keepdim);
      case 1:
        return mean(x[0], axes, keepdim);
      case 2:
        return var(x[0], axes, keepdim);
      case 3:
        return max(x[0], axes, keepdim);
      case 4:
        return min(x[0], axes, keepdim);
      case 5:
        return argmax(x[0], axes, keepdim);
      default:
        return var(x[0], {}, keepdim, 0);
    }
  });
}

void shapes(Program& p) {
  const size_t a = p.any();
  const Shape s = p.shape(a);
  const int64_t i = p.axis(s), j = p.axis(s);
  constexpr int64_t steps[] = {1, 2, 3, 1, 7};
  const int64_t begin = p.bytes().below(9) - 3, end = p.bytes().below(40) - 3,
                step = p.bytes().one_of(steps);
  constexpr const char* names[] = {"reshape", "flatten",     "transpose", "unsqueeze",
                                   "squeeze", "expand",      "slice",     "select",
                                   "unbind",  "flatten all", "permute",   "sum_to"};
  const int64_t which = p.bytes().below(12);
  Axes order;
  for (int64_t k = 0; k < s.ndim(); ++k) order.push_back((k + end + 3) % s.ndim());
  Shape target = s;
  for (int k = 0; k < s.ndim(); ++k)
    if ((end + 3) >> k & 1) target[k] = 1;
  if (step == 2 && s.ndim() > 0) target = target.erased(0);
  p.call(names[which], {a}, [=](auto x) {
    switch (which) {
      case 0:
        return reshape(x[0], Shape{s.ndim() > 0 ? s[0] : 1, -1});
      case 1:
        return flatten(x[0], i, j);
      case 2:
        return transpose(x[0], i, j);
      case 3:
        return unsqueeze(x[0], i);
      case 4:
        return squeeze(x[0], i);
      case 5:
        return expand(x[0], s.inserted(0, begin + 3));
      case 6:
        return slice(x[0], i, begin, end, step);
      case 7:
        return select(x[0], i, begin);
      case 8: {
        const TensorList parts = unbind(x[0], i);
        check(!parts.empty(), "unbind: no parts");
        return parts.size() > 1 ? add(parts[0], parts.back()) : parts[0];
      }
      case 9:
        return flatten(x[0]);
      case 10:
        return permute(x[0], order);
      default:
        return sum_to(x[0], target);
    }
  });
}

void join(Program& p) {
  const size_t a = p.any(), b = p.of(p.shape(a));
  const int64_t axis = p.axis(p.shape(a));
  const bool stacks = p.bytes().below(2);
  p.call(stacks ? "stack" : "concat", {a, b, a},
         [=](auto x) { return stacks ? stack(x, axis) : concat(x, axis); });
}

void product(Program& p) {
  const size_t a = p.any();
  const Shape s = p.shape(a);
  const bool ta = p.bytes().one_in(3), tb = p.bytes().below(2);
  const int64_t k = s.ndim() < 1 ? 1 : ta && s.ndim() > 1 ? s[-2] : s[-1];
  constexpr int64_t sizes[] = {1, 3, 8, 17, 0, 5, 16, 33};
  const int64_t n = p.bytes().one_of(sizes);
  Shape t = tb ? Shape{n, k} : Shape{k, n};
  if (s.ndim() > 2 && p.bytes().below(2)) t = t.inserted(0, p.bytes().below(2) ? 1 : s[-3]);
  p.call("matmul", {a, p.of(t)}, [=](auto x) { return matmul(x[0], x[1], ta, tb); });
}

Tensor input_or_none(std::span<const Tensor> x, size_t i) { return i < x.size() ? x[i] : Tensor(); }

Activation activation(Program& p) {
  return p.bytes().below(2) ? Activation::relu : Activation::none;
}

void dense(Program& p) {
  const size_t a = p.any();
  const Shape s = p.shape(a);
  constexpr int64_t sizes[] = {1, 3, 8, 17, 0, 5, 16, 33};
  const int64_t n = p.bytes().one_of(sizes), k = s.ndim() > 0 ? s[-1] : 1;
  const Activation relu = activation(p);
  const size_t w = p.of({n, k});
  std::vector<size_t> inputs{a, w};
  if (p.bytes().below(2)) inputs.push_back(p.of({n}));
  p.call("linear", inputs, [=](auto x) { return linear(x[0], x[1], input_or_none(x, 2), relu); });
}

void softmaxes(Program& p) {
  const size_t a = p.any();
  const int64_t axis = p.axis(p.shape(a)), which = p.bytes().below(4);
  constexpr const char* names[] = {"softmax", "log_softmax", "logsumexp", "logsumexp keepdim"};
  p.call(names[which], {a}, [=](auto x) {
    switch (which) {
      case 0:
        return softmax(x[0], axis);
      case 1:
        return log_softmax(x[0], axis);
      default:
        return logsumexp(x[0], axis, which == 3);
    }
  });
}

/// x, and no, one or two of the norm's parameters.
std::vector<size_t> with_parameters(Program& p, size_t x, const Shape& shape, int64_t most) {
  std::vector<size_t> inputs{x};
  for (int64_t n = p.bytes().below(most + 1); n > 0; --n) inputs.push_back(p.of(shape));
  return inputs;
}

/// Over the last axes: layer_norm and rms_norm, whose own eps would be another in f64.
void row_norms(Program& p) {
  const size_t a = p.any();
  const Shape s = p.shape(a);
  const bool centred = p.bytes().below(2);
  const int last = s.ndim() > 1 && p.bytes().one_in(3) ? 2 : std::min(s.ndim(), 1);
  Shape normalized, rows = s;
  for (int i = s.ndim() - last; i < s.ndim(); ++i) {
    normalized.push_back(s[i]);
    rows = rows.erased(rows.ndim() - 1);
  }
  const Tensor valid = p.bytes().one_in(3) ? p.mask(rows) : Tensor();
  if (!centred)
    return p.call(
        "rms_norm", with_parameters(p, a, normalized, 1),
        [=](auto x) {
          return rms_norm(x[0], normalized, input_or_none(x, 1), {.eps = 1e-5, .valid = valid});
        },
        1, kNormTerms);
  const LayerNormOptions options{.valid = valid, .activation = activation(p)};
  p.call(
      "layer_norm", with_parameters(p, a, normalized, 2),
      [=](auto x) {
        return layer_norm(x[0], normalized, input_or_none(x, 1), input_or_none(x, 2), options);
      },
      1, kNormTerms);
}

/// By channels: group_norm, batch_norm and batch_norm_inference.
void channel_norms(Program& p) {
  const size_t a = p.any();
  const Shape s = p.shape(a);
  const int64_t which = p.bytes().below(3);
  const bool last = s.ndim() < 2 || (which > 0 && p.bytes().below(2));
  const int64_t channels = s.ndim() == 0 ? 1 : last ? s[-1] : s[1];
  const Activation relu = activation(p);
  const bool masked = s.ndim() > 0 && p.bytes().one_in(3);
  const std::vector<size_t> inputs = with_parameters(p, a, {channels}, 2);
  if (which == 0) {
    const int64_t groups = p.bytes().one_of<int64_t>({1, 2, 3, channels, 4});
    const Tensor valid = masked ? p.mask({s[0]}) : Tensor();
    return p.call(
        "group_norm", inputs,
        [=](auto x) {
          return group_norm(x[0], groups, input_or_none(x, 1), input_or_none(x, 2),
                            {.valid = valid, .activation = relu});
        },
        1, kNormTerms);
  }
  const BatchNormOptions options{
      .axis = last ? ChannelAxis::last : ChannelAxis::second,
      .valid = masked ? p.mask(s.erased(last ? s.ndim() - 1 : 1)) : Tensor(),
      .activation = relu};
  if (which == 1)
    return p.call(
        "batch_norm", inputs,
        [=](auto x) {
          return batch_norm(x[0], input_or_none(x, 1), input_or_none(x, 2), options).y;
        },
        1, kNormTerms);
  const Tensor mean = p.numbers({channels}, p.bytes().below(4)), var = p.numbers({channels}, 2);
  p.call(
      "batch_norm_inference", inputs,
      [=](auto x) {
        const auto like = [&](const Tensor& statistic) {
          return raw::cast(statistic, x[0].dtype());
        };
        return batch_norm_inference(x[0], like(mean), like(var), input_or_none(x, 1),
                                    input_or_none(x, 2), options);
      },
      1, kNormTerms);
}

void losses(Program& p) {
  const size_t a = p.any();
  const Shape s = p.shape(a);
  const auto reduction = static_cast<Reduction>(p.bytes().below(3));
  const int64_t which = p.bytes().below(4);
  if (which == 3) {
    const Tensor labels =
        p.indices(s.ndim() > 0 ? s.erased(s.ndim() - 1) : s, s.ndim() > 0 ? s[-1] : 1);
    const double smoothing = p.bytes().below(2) ? 0.1 : 0;
    const int64_t ignored = p.bytes().below(2) ? 0 : -100;
    return p.call("cross_entropy", {a}, [=](auto x) {
      return cross_entropy(
          x[0], labels,
          {.label_smoothing = smoothing, .ignore_index = ignored, .reduction = reduction});
    });
  }
  constexpr const char* names[] = {"mse_loss", "huber_loss", "binary_cross_entropy_with_logits"};
  p.call(names[which], {a, p.of(s)}, [=](auto x) {
    switch (which) {
      case 0:
        return mse_loss(x[0], x[1], reduction);
      case 1:
        return huber_loss(x[0], x[1], 0.75, reduction);
      default:
        return binary_cross_entropy_with_logits(x[0], x[1], {.reduction = reduction});
    }
  });
}

/// And the table that has a row for padding.
void more_losses(Program& p) {
  const size_t a = p.any();
  const Shape s = p.shape(a);
  const auto reduction = static_cast<Reduction>(p.bytes().below(3));
  const bool flag = p.bytes().below(2) == 1;
  switch (p.bytes().below(10)) {
    case 9: {
      const int64_t rows = s.ndim() > 0 ? s[0] : 1;
      const Tensor index = p.indices({5}, rows);
      return p.call("embedding with padding", {a},
                    [=](auto x) { return embedding(x[0], index, flag ? 0 : rows - 1); });
    }
    case 0: {
      const Shape classes = s.ndim() > 1 ? s.erased(1) : Shape{};
      const Tensor labels = p.indices(classes, s.ndim() > 1 ? s[1] : 1);
      const int64_t ignored = flag ? 0 : -100;
      return p.call("nll_loss", {a}, [=](auto x) {
        return nll_loss(x[0], labels, {.ignore_index = ignored, .reduction = reduction});
      });
    }
    case 1:
      return p.call("l1_loss", {a, p.of(s)},
                    [=](auto x) { return l1_loss(x[0], x[1], reduction); });
    case 2:
      return p.call("smooth_l1_loss", {a, p.of(s)},
                    [=](auto x) { return smooth_l1_loss(x[0], x[1], 0.75, reduction); });
    case 3:
      return p.call("kl_div", {a, p.of(s)}, [=](auto x) {
        const Tensor target = flag ? x[1] : relu(x[1]);
        return kl_div(x[0], target, {.log_target = flag, .reduction = reduction});
      });
    case 4:
      return p.call("binary_cross_entropy", {a, p.of(s)}, [=](auto x) {
        return binary_cross_entropy(clamp(x[0], 0.125, 0.875), x[1], {.reduction = reduction});
      });
    case 5:
      return p.call("gaussian_nll_loss", {a, p.of(s), p.of(s)}, [=](auto x) {
        return gaussian_nll_loss(x[0], x[1], abs(x[2]),
                                 {.full = flag, .eps = 0.25, .reduction = reduction});
      });
    case 6: {
      const int64_t axis = p.axis(s);
      return p.call("cosine_similarity", {a, p.of(s)},
                    [=](auto x) { return cosine_similarity(x[0], x[1], axis, 0.25); });
    }
    case 7: {
      if (s.ndim() < 1) return;
      const Tensor target = affine(raw::cast(p.mask(s.erased(s.ndim() - 1)), DType::f32), 2, -1);
      return p.call("cosine_embedding_loss", {a, p.of(s)}, [=](auto x) {
        return cosine_embedding_loss(x[0], x[1], target, {.margin = 0.25, .reduction = reduction});
      });
    }
    default:
      p.call("cross_entropy", {a, p.of(s)}, [=](auto x) {
        return cross_entropy(x[0], x[1],
                             {.label_smoothing = flag ? 0.1 : 0, .reduction = reduction});
      });
  }
}

void choices(Program& p) {
  const size_t a = p.any();
  const Tensor mask = p.lay_out(p.mask(p.shape(a)));
  const int64_t which = p.bytes().below(6);
  if (which < 3)
    return p.call("where", {a, p.of(p.shape(a))}, [=](auto x) { return where(mask, x[0], x[1]); });
  if (which == 4)
    return p.call("where of a number", {a}, [=](auto x) { return where(mask, 0.5, x[0]); });
  p.call("masked_fill", {a}, [=](auto x) { return masked_fill(x[0], mask, -3); });
}

void indexing(Program& p) {
  const size_t a = p.any();
  Shape s = p.shape(a);
  const int64_t axis = p.axis(s), at = axis < 0 ? axis + s.ndim() : axis;
  const int64_t which = p.bytes().below(5);
  constexpr int64_t sizes[] = {1, 3, 8, 17, 0, 5, 33, 2};
  if (which == 0) {
    const Tensor index = p.indices({p.bytes().one_of(sizes), 2}, s.ndim() > 0 ? s[0] : 1);
    return p.call("embedding", {a}, [=](auto x) { return embedding(x[0], index); });
  }
  const int64_t n = at >= 0 && at < s.ndim() ? s[at] : 1;
  if (at >= 0 && at < s.ndim()) s[at] = p.bytes().one_of(sizes);
  if (s.numel() > kMostElements) return;
  if (which > 2) {
    const Tensor parts = p.indices({at >= 0 && at < s.ndim() ? s[at] : 1}, n);
    if (which == 3)
      return p.call("index_select", {a}, [=](auto x) { return index_select(x[0], axis, parts); });
    return p.call("index_add", {a, p.of(s)},
                  [=](auto x) { return index_add(x[0], axis, parts, x[1]); });
  }
  const Tensor index = p.indices(s, n);
  if (which == 1) return p.call("gather", {a}, [=](auto x) { return gather(x[0], axis, index); });
  p.call("scatter_add", {a, p.of(s)}, [=](auto x) { return scatter_add(x[0], axis, index, x[1]); });
}

void convolution(Program& p) {
  constexpr int64_t channels[] = {1, 2, 3, 4, 8, 9, 16}, sizes[] = {1, 3, 4, 5, 8, 9, 13, 0, 6};
  const int64_t n = p.bytes().one_of({0, 1, 2, 1}), groups = p.bytes().one_of({1, 1, 1, 2});
  const int64_t in = p.bytes().one_of(channels), out = p.bytes().one_of(channels);
  const Shape image{n, groups * in, p.bytes().one_of(sizes), p.bytes().one_of(sizes)};
  const int64_t k = p.bytes().one_of({3, 1, 2, 3, 5}), stride = p.bytes().one_of({1, 1, 2, 3});
  const int64_t padding = p.bytes().below(4), dilation = p.bytes().one_of({1, 1, 1, 2});
  const auto algorithm = static_cast<ConvAlgorithm>(p.bytes().below(4));
  std::vector<size_t> inputs{p.of(image), p.of({groups * out, in, k, k})};
  if (p.bytes().below(2)) inputs.push_back(p.of({groups * out}));
  p.call(
      "conv2d", inputs,
      [=](auto x) {
        return conv2d(
            x[0], x[1], input_or_none(x, 2),
            {.stride = {stride, stride},
             .padding = {padding, padding},
             .dilation = {dilation, dilation},
             .groups = groups,
             .algorithm = x[0].dtype() == DType::f32 ? algorithm : ConvAlgorithm::automatic});
      },
      16);  // Winograd's bound
}

void pooling(Program& p) {
  size_t a = p.any();
  constexpr int64_t sizes[] = {1, 3, 4, 5, 8, 9, 13, 0, 17};
  if (p.shape(a).ndim() != 4)
    a = p.of(
        {p.bytes().below(3), p.bytes().below(4), p.bytes().one_of(sizes), p.bytes().one_of(sizes)});
  const Pair kernel{p.bytes().one_of<int64_t>({2, 3, 1, 2, 3, 0}), 1 + p.bytes().below(3)};
  const Pool2dOptions options{.stride = Pair{1 + p.bytes().below(3), 2},
                              .padding = {p.bytes().below(2), p.bytes().below(2)},
                              .ceil_mode = p.bytes().below(2) == 1,
                              .count_include_pad = p.bytes().below(2) == 1};
  switch (p.bytes().below(3)) {
    case 0:
      return p.call("max_pool2d", {a}, [=](auto x) { return max_pool2d(x[0], kernel, options); });
    case 1:
      return p.call("avg_pool2d", {a}, [=](auto x) { return avg_pool2d(x[0], kernel, options); });
    default:
      p.call("adaptive_avg_pool2d", {a}, [=](auto x) { return adaptive_avg_pool2d(x[0], kernel); });
  }
}

/// Convolutions and poolings along one axis, transposed, or that keep the size; and what goes back.
void windows(Program& p) {
  constexpr int64_t channels[] = {1, 2, 3, 8, 9}, sizes[] = {1, 3, 4, 5, 8, 9, 13};
  const int64_t n = p.bytes().one_of({1, 2, 0}), groups = p.bytes().one_of({1, 1, 2}),
                in = groups * p.bytes().one_of(channels), out = p.bytes().one_of(channels),
                h = p.bytes().one_of(sizes), w = p.bytes().one_of(sizes),
                k = p.bytes().one_of({3, 1, 2, 4}), stride = 1 + p.bytes().below(3),
                padding = p.bytes().below(3), dilation = 1 + p.bytes().below(2);
  const bool same = p.bytes().one_in(2);
  switch (p.bytes().below(9)) {
    case 8: {
      InterpolateOptions options;
      if (same) options.scale = 0.5 * static_cast<double>(k + stride);
      if (!same) options.size = Pair(k, 2 * stride);
      if (padding > 0) options.mode = Interpolation::bilinear;
      options.align_corners = padding > 1;
      return p.call("interpolate", {p.of({n, in, h, w})},
                    [=](auto x) { return interpolate(x[0], options); });
    }
    case 0:
      return p.call(
          "conv1d", {p.of({n, in, w}), p.of({groups * out, in / groups, k}), p.of({groups * out})},
          [=](auto x) {
            return conv1d(x[0], x[1], x[2],
                          {.stride = same ? 1 : stride,
                           .padding = same ? Padding::same() : Padding(padding),
                           .dilation = dilation,
                           .groups = groups});
          },
          16);
    case 1:
      return p.call(
          "conv_transpose1d", {p.of({n, in, w}), p.of({in, out, k}), p.of({groups * out})},
          [=](auto x) {
            return conv_transpose1d(x[0], x[1], x[2],
                                    {.stride = stride,
                                     .padding = padding,
                                     .output_padding = stride - 1,
                                     .dilation = dilation,
                                     .groups = groups});
          },
          16);
    case 2:
      return p.call(
          "conv_transpose2d", {p.of({n, in, h, w}), p.of({in, out, k, k}), p.of({groups * out})},
          [=](auto x) {
            return conv_transpose2d(x[0], x[1], x[2],
                                    {.stride = stride,
                                     .padding = padding,
                                     .output_padding = same ? 1 : 0,
                                     .dilation = dilation,
                                     .groups = groups});
          },
          16);
    case 3:
      return p.call(
          "conv2d of the same size",
          {p.of({in, h, w}), p.of({groups * out, in / groups, k, 1 + padding})},
          [=](auto x) {
            return conv2d(x[0], x[1], {},
                          {.padding = Padding::same(), .dilation = dilation, .groups = groups});
          },
          16);
    case 4:
      return p.call("max_pool1d", {p.of({n, in, w})}, [=](auto x) {
        return max_pool1d(x[0], k, {.stride = stride, .dilation = dilation, .ceil_mode = same});
      });
    case 5:
      return p.call("avg_pool1d", {p.of({n, in, w})}, [=](auto x) {
        return avg_pool1d(x[0], k, {.stride = stride, .ceil_mode = same});
      });
    case 6:
      return p.call("adaptive_avg_pool1d", {p.of({n, in, w})},
                    [=](auto x) { return adaptive_avg_pool1d(x[0], k); });
    default: {
      const Tensor places = p.indices({n, in, h, w}, h * w);
      p.call("max_unpool2d", {p.of({n, in, h, w})},
             [=](auto x) { return max_unpool2d(x[0], places, 1); });
      p.call("max_pool2d_with_indices", {p.of({n, in, h, w})},
             [=](auto x) { return max_pool2d_with_indices(x[0], k, {.stride = stride}).y; });
    }
  }
}

void attention(Program& p) {
  constexpr int64_t lengths[] = {1, 2, 4, 5, 8, 33, 0, 17};
  const int64_t n = 1 + p.bytes().below(2), tq = p.bytes().one_of(lengths),
                tk = p.bytes().one_of(lengths), d = p.bytes().one_of({3, 1, 8, 17, 0});
  const int64_t kind = p.bytes().below(4);
  std::vector<size_t> inputs{p.of({n, tq, d}), p.of({n, tk, d}),
                             p.of({n, tk, p.bytes().one_of({2, 8, 9})})};
  AttentionOptions options;
  options.causal = p.bytes().one_in(3);
  if (kind == 1) options.mask = p.mask({tq, tk});
  if (kind == 2) options.key_padding = p.mask({n, tk});
  if (kind == 3) inputs.push_back(p.of({n, tq, tk}));
  p.call("scaled_dot_product_attention", inputs, [=](auto x) {
    AttentionOptions o = options;
    if (x.size() > 3) o.mask = x[3];
    return scaled_dot_product_attention(x[0], x[1], x[2], o);
  });
}

void own_attention(Program& p) {
  constexpr int64_t lengths[] = {1, 2, 4, 5, 8, 33, 0, 17};
  const int64_t n = 1 + p.bytes().below(2), t = p.bytes().one_of(lengths),
                heads = 1 + p.bytes().below(3), d = p.bytes().one_of({3, 1, 8, 4});
  const int64_t kind = p.bytes().below(4);
  AttentionOptions options;
  options.causal = p.bytes().one_in(3);
  if (kind == 1) options.mask = p.mask({t, t});
  if (kind == 2) options.key_padding = p.mask({n, t});
  std::vector<size_t> inputs{p.of({n, t, 3 * heads * d})};
  if (kind == 3) inputs.push_back(p.of({n, heads, t, t}));
  // dq = scale sum p (dy v - sum p dy v) k: where one key has all the weight, dy v cancels, and
  // what its rounding leaves is multiplied by k. Here k and v are parts of one input.
  p.call(
      "self_attention", inputs,
      [=](auto x) {
        AttentionOptions o = options;
        if (x.size() > 1) o.mask = x[1];
        return self_attention(x[0], heads, o);
      },
      1, 1, 2);
}

void cell(Program& p) {
  const auto kind = static_cast<CellKind>(p.bytes().below(4));
  const int64_t n = p.bytes().below(4), h = p.bytes().one_of({1, 4, 9, 17});
  const Shape gates{n, gates_of(kind) * h};
  std::vector<size_t> inputs{p.of(gates), p.of(gates)};
  for (int64_t k = p.bytes().below(kind == CellKind::lstm ? 3 : 2); k > 0; --k)
    inputs.push_back(p.of({n, h}));
  const bool c = p.bytes().below(2);
  p.call(
      "cell_step", inputs,
      [=](auto x) {
        const CellState next =
            cell_step(kind, x[0], x[1], {input_or_none(x, 2), input_or_none(x, 3)});
        return c && next.c ? next.c : next.h;
      },
      1, 2);
}

void recurrent(Program& p) {
  const auto kind = static_cast<CellKind>(p.bytes().below(4));
  const int64_t n = p.bytes().below(4), t = p.bytes().one_of({1, 3, 0, 5}),
                d = p.bytes().one_of({1, 3, 8}), h = p.bytes().one_of({1, 4, 9, 17}),
                g = gates_of(kind) * h;
  const bool single = p.bytes().one_in(4), state = p.bytes().below(2);
  Tensor valid;
  if (!single && p.bytes().one_in(3)) valid = p.mask({n, t});
  std::vector<size_t> inputs{p.of(single ? Shape{n, d} : Shape{n, t, d}), p.of({g, d}),
                             p.of({g, h})};
  if (state) inputs.push_back(p.of({n, h}));
  if (state && kind == CellKind::lstm) inputs.push_back(p.of({n, h}));
  const int64_t what = p.bytes().below(2);
  p.call(
      "recurrence", inputs,
      [=](auto x) {
        const CellState first{input_or_none(x, 3), input_or_none(x, 4)};
        const RecurrenceResult r = recurrence(kind, x[0], first, {x[1], x[2], {}, {}}, valid);
        return what == 0 && r.y ? r.y : r.state.h;
      },
      1, 2);
}

void random(Program& p) {
  const uint64_t seed = static_cast<uint64_t>(p.bytes().below(256));
  p.call("dropout", {p.any()}, [=](auto x) {
    Generator generator(seed);
    return dropout(x[0], 0.5, true, generator);
  });
}

/// What is written in other functions: operators, numbers, vectors, parts.
void surface(Program& p) {
  const size_t a = p.any();
  const Shape s = p.shape(a);
  const int64_t i = p.axis(s), n = p.bytes().below(9), which = p.bytes().below(12);
  constexpr double numbers[] = {2, 0.5, 0, 1, 3, 1.5, -1, kInf, 0.25};
  const double number = numbers[n];
  const auto ends = [](const TensorList& parts) {
    check(!parts.empty(), "no parts");
    return concat({parts.back(), parts[0]}, 0);
  };
  const auto vector = [&] { return p.of({s.numel()}); };
  switch (which) {
    case 0:
      return p.call("clone", {a}, [](auto x) { return clone(x[0]); });
    case 1:
      return p.call("detach", {a}, [](auto x) { return mul(x[0], detach(x[0])); });
    case 2:
      return p.call("split", {a}, [=](auto x) { return ends(split(x[0], n, i)); });
    case 3:
      return p.call("split sizes", {a}, [=](auto x) {
        return ends(split(x[0], {n, x[0].size(i) - n}, i));
      });
    case 4:
      return p.call("chunk", {a}, [=](auto x) { return ends(chunk(x[0], n, i)); });
    case 5:
      return p.call("dot", {a, vector()}, [](auto x) { return dot(flatten(x[0]), x[1]); });
    case 6:
      return p.call("outer", {a, p.of({n})}, [](auto x) { return outer(flatten(x[0]), x[1]); });
    case 7:
      return p.call("matmul vectors", {a, p.of({s.ndim() > 0 ? s[-1] : n})},
                    [](auto x) { return matmul(x[0], x[1]); });
    case 8:
      return p.call("pow of a number", {a}, [=](auto x) { return pow(number, x[0]); });
    case 9:
      return p.call("maximum number", {a},
                    [=](auto x) { return n % 2 ? maximum(x[0], number) : minimum(number, x[0]); });
    case 10:
      return p.call("clamp tensors", {a, p.of(s), p.of(s)}, [=](auto x) {
        return clamp(x[0], n % 3 ? x[1] : Tensor(), n % 3 == 1 ? Tensor() : x[2]);
      });
    default:
      p.call("squeeze several", {a}, [=](auto x) {
        Tensor y = squeeze(x[0]);
        y += square(y);
        y *= number;
        return y;
      });
  }
}

void index_maps(Program& p) {
  const size_t a = p.any();
  const Shape s = p.shape(a);
  const int64_t axis = p.axis(s), n = p.bytes().below(5) - 1, m = p.bytes().below(5) - 1;
  const Axes axes = p.axes(s);
  const auto mode = static_cast<PadMode>(p.bytes().below(3));
  const double value = p.bytes().one_of({0., 1., kNaN, kInf});
  const Tensor chosen = p.mask(s);
  constexpr const char* names[] = {"flip", "roll", "tile",          "repeat_interleave",
                                   "pad",  "tril", "triu",          "nonzero",
                                   "pad",  "flip", "masked_select", "einsum"};
  const int64_t which = p.bytes().below(12);
  std::vector<size_t> inputs{a};
  std::string equation;
  if (which == 11) {
    const std::string letters = std::string("abcdefgh").substr(0, static_cast<size_t>(s.ndim()));
    if (letters.empty()) return;
    inputs.push_back(p.of({s.back(), m + 1}));
    equation = letters + "," + letters.back() + "z->z" + (n > 1 ? "" : letters.substr(0, 1));
    if (n <= 1 && s.ndim() == 1) equation = "a,az->az";
  }
  p.call(names[which], inputs, [=](auto x) {
    switch (which) {
      case 0:
      case 9:
        return flip(x[0], axes);
      case 1:
        return roll(x[0], n, axis);
      case 2:
        return tile(x[0], {n, m, 1});
      case 3:
        return repeat_interleave(x[0], n, axis);
      case 4:
        return pad(x[0], {n, m}, mode, value);
      case 5:
        return tril(x[0], n);
      case 6:
        return triu(x[0], n);
      case 7:
        return nonzero(chosen);
      case 8:
        return pad(x[0], {n, m, m, n}, mode, value);
      case 10:
        return masked_select(x[0], chosen);
      default:
        return einsum(equation, {x[0], x[1]});
    }
  });
}

void orders_and_scans(Program& p) {
  const size_t a = p.any();
  const Shape s = p.shape(a);
  const int64_t axis = p.axis(s), k = p.bytes().below(4);
  const Axes axes = p.axes(s);
  const bool flag = p.bytes().below(2);
  const double number = p.bytes().one_of({0.5, 0.01, 2., 1.});
  struct Row {
    const char* name;
    std::function<Tensor(const Tensor&)> f;
  };
  const Row rows[] = {
      {"sort", [=](const Tensor& x) { return sort(x, axis, flag).values; }},
      {"argsort", [=](const Tensor& x) { return argsort(x, axis, flag); }},
      {"topk", [=](const Tensor& x) { return topk(x, k, axis, flag).values; }},
      {"max_with_indices", [=](const Tensor& x) { return max_with_indices(x, axis, flag).values; }},
      {"min_with_indices", [=](const Tensor& x) { return min_with_indices(x, axis, flag).values; }},
      {"argmin", [=](const Tensor& x) { return argmin(x, axes, flag); }},
      {"cumsum", [=](const Tensor& x) { return cumsum(x, axis); }},
      {"prod", [=](const Tensor& x) { return prod(x, axes, flag); }},
      {"stddev", [=](const Tensor& x) { return stddev(x, axes, flag); }},
      {"norm 2", [=](const Tensor& x) { return norm(x, 2, axes, flag); }},
      {"norm", [=](const Tensor& x) { return norm(x, k == 0 ? kInf : 2 * number, axes, flag); }},
      {"logsumexp of several", [=](const Tensor& x) { return logsumexp(x, axes, flag); }},
      {"log1p", log1p},
      {"expm1", expm1},
      {"leaky_relu", [=](const Tensor& x) { return leaky_relu(x, number); }},
      {"elu", [=](const Tensor& x) { return elu(x, number); }},
      {"round", round},
      {"floor", floor},
      {"ceil", ceil}};
  const Row& row = rows[p.bytes().below(static_cast<int64_t>(std::size(rows)))];
  p.call(row.name, {a}, [f = row.f](auto x) { return f(x[0]); });
}

// Of tensors that are cast to integers, and back.
void integers(Program& p) {
  const size_t a = p.any(), b = p.of(p.shape(a));
  const int64_t which = p.bytes().below(10);
  const Axes axes = p.axes(p.shape(a));
  constexpr const char* names[] = {
      "add integers", "sub integers", "mul integers",   "maximum integers", "minimum integers",
      "sum integers", "max integers", "clamp integers", "prod integers",    "sum bools"};
  p.call(names[which], {a, b}, [=](auto x) {
    const Tensor u = cast(clamp(x[0], -9, 9), DType::i64), v = cast(clamp(x[1], -9, 9), DType::i64);
    const Tensor y = which == 0   ? add(u, v)
                     : which == 1 ? sub(u, v)
                     : which == 2 ? mul(u, v)
                     : which == 3 ? maximum(u, v)
                     : which == 4 ? minimum(u, v)
                     : which == 5 ? sum(u, axes)
                     : which == 6 ? max(u, axes)
                     : which == 7 ? clamp(abs(u) * 2 - v, -3, 5)
                     : which == 8 ? prod(u - v, axes)
                                  : sum(x[0] > 0, axes);
    return cast(y, x[0].dtype());
  });
}

// A row more takes the place of one that stands twice, so that stored programs keep their meaning.
constexpr void (*kOps[32])(Program&) = {
    unary,       binary,           reduction,     shapes,    product,     dense,
    softmaxes,   row_norms,        losses,        choices,   indexing,    join,
    pooling,     convolution,      attention,     recurrent, random,      with_number,
    casts,       channel_norms,    own_attention, cell,      logic,       backward_functions,
    index_maps,  orders_and_scans, integers,      windows,   more_losses, surface,
    with_number, pooling};

Outcome Program::run() {
  try {
    Tape tape;
    leaf(any_shape());
    for (int i = 0; i < kMostOps && !bytes_.ended(); ++i) bytes_.one_of(kOps)(*this);
    listing_ += "  sweep\n";
    sweep(tape);
  } catch (const std::exception& error) {
    found(fmt::format("thrown: {}", error.what()));
  }
  if (!outcome_.finding.empty()) return outcome_;
  try {
    compare_gradients();
  } catch (const std::exception& error) {
    found(fmt::format("thrown in f64 alone: {}", error.what()));
  }
  return outcome_;
}

}  // namespace

Outcome run_program(std::span<const uint8_t> bytes) { return Program(bytes).run(); }

}  // namespace gradus::fuzz
