#include <gradus/optim/lbfgs.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>

namespace gradus {

namespace {

using Vector = std::vector<double>;

double dot(const Vector& a, const Vector& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

/// y += a x
void add(Vector& y, double a, const Vector& x) {
  for (size_t i = 0; i < y.size(); ++i) y[i] += a * x[i];
}

/// y = a x
Vector scaled(double a, Vector x) {
  for (double& value : x) value *= a;
  return x;
}

double largest(const Vector& x) {
  double result = 0;
  for (double value : x) result = std::max(result, std::abs(value));
  return result;
}

bool all_finite(const Vector& x) {
  return std::ranges::all_of(x, [](double value) { return std::isfinite(value); });
}

/// Puts parameters back unless it is told that all went well.
class Restore {
 public:
  explicit Restore(const std::vector<Tensor>& parameters) : parameters_(parameters) {
    for (const Tensor& p : parameters) before_.push_back(raw::clone(p));
  }
  ~Restore() {
    for (size_t i = 0; i < before_.size(); ++i) raw::copy(before_[i], parameters_[i]);
  }
  Restore(const Restore&) = delete;
  Restore& operator=(const Restore&) = delete;
  void keep_changes() { before_.clear(); }

 private:
  std::vector<Tensor> parameters_, before_;
};

}  // namespace

Lbfgs::Lbfgs(std::vector<Tensor> parameters, LbfgsOptions options)
    : parameters_(std::move(parameters)), options_(options) {
  const auto check_number = [](const char* what, double value) {
    check(value >= 0 && std::isfinite(value), "Lbfgs: {} is {}, must be finite and not negative",
          what, value);
  };
  const auto check_count = [](const char* what, int64_t value) {
    check(value > 0, "Lbfgs: {} is {}, must be positive", what, value);
  };
  check_number("the learning rate", options.lr);
  check_number("tolerance_grad", options.tolerance_grad);
  check_number("tolerance_change", options.tolerance_change);
  check_count("max_iter", options.max_iter);
  check_count("max_eval", options.max_eval.value_or(1));
  check_count("history_size", options.history_size);
  check(!parameters_.empty(), "Lbfgs: no parameters");
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const Tensor& p = parameters_[i];
    check(p && p.requires_grad(), "Lbfgs: parameter {} does not require a gradient",
          p ? fmt::format("{} {}", p.name(), p.shape()) : "(empty)");
    raw::check_writable("Lbfgs", p);
    for (size_t j = 0; j < i; ++j)
      check(!raw::overlap(p, parameters_[j]),
            "Lbfgs: parameter {} {} is given twice, or shares memory with another", p.name(),
            p.shape());
  }
  for (Tensor& p : parameters_) p.set_parameter_state(ParameterState::shown);
}

void Lbfgs::zero_grad() {
  for (Tensor& p : parameters_) p.set_grad({});
}

Vector Lbfgs::gradient() const {
  Vector all;
  for (const Tensor& p : parameters_) {
    check(!p.grad() || p.grad().shape() == p.shape(), "Lbfgs: parameter {} is {}, its gradient {}",
          p.name(), p.shape(), p.grad() ? p.grad().shape() : p.shape());
    const Vector one =
        p.grad() ? p.grad().to_vector<double>() : Vector(static_cast<size_t>(p.numel()));
    all.insert(all.end(), one.begin(), one.end());
  }
  return all;
}

Vector Lbfgs::values() const {
  Vector all;
  for (const Tensor& p : parameters_) {
    const Vector one = p.to_vector<double>();
    all.insert(all.end(), one.begin(), one.end());
  }
  return all;
}

/// The parameters become from + t direction.
void Lbfgs::move(const Vector& from, double t, const Vector& direction) {
  size_t i = 0;
  for (Tensor& p : parameters_) {
    Tensor moved = empty(p.shape(), p.dtype());
    dispatch_floating(p.dtype(), "Lbfgs", [&]<class T>() {
      T* const to = moved.mutable_data<T>();
      for (int64_t k = 0; k < p.numel(); ++k, ++i)
        to[k] = static_cast<T>(from[i] + t * direction[i]);
    });
    raw::copy(moved, p);
  }
}

/// Loss and gradient where the parameters are.
struct Lbfgs::Point {
  double loss;
  Vector gradient;
  bool finite() const { return std::isfinite(loss) && all_finite(gradient); }
};

Lbfgs::Point Lbfgs::evaluate(const std::function<Tensor()>& closure, Memory& memory) const {
  const Tensor loss = closure();
  ++memory.func_evals;
  check(loss && loss.numel() == 1, "Lbfgs: the closure's loss is {}, must be one number",
        loss ? str(loss.shape()) : "an empty Tensor");
  return {loss.item(), gradient()};
}

/// The direction of the next iteration: the two-loop recursion over the pairs.
void Lbfgs::update_direction(Memory& memory, const Vector& gradient) const {
  if (memory.n_iter == 1) {
    memory.direction = scaled(-1, gradient);
    memory.pairs.clear();
    memory.scale = 1;
    return;
  }
  Vector y = gradient;
  add(y, -1, memory.gradient);
  Vector s = scaled(memory.t, memory.direction);
  constexpr double kLeastCurvature = 1e-10;
  if (const double ys = dot(y, s); ys > kLeastCurvature) {
    if (std::ssize(memory.pairs) == options_.history_size) memory.pairs.erase(memory.pairs.begin());
    memory.scale = ys / dot(y, y);
    memory.pairs.push_back({std::move(y), std::move(s), 1 / ys});
  }
  const std::vector<Pair>& pairs = memory.pairs;
  Vector q = scaled(-1, gradient), alpha(pairs.size());
  for (size_t i = pairs.size(); i-- > 0;) {
    alpha[i] = dot(pairs[i].s, q) * pairs[i].rho;
    add(q, -alpha[i], pairs[i].y);
  }
  memory.direction = scaled(memory.scale, std::move(q));
  for (size_t i = 0; i < pairs.size(); ++i)
    add(memory.direction, alpha[i] - dot(pairs[i].y, memory.direction) * pairs[i].rho, pairs[i].s);
}

namespace {

/// A place on the line of a search: the loss there, its slope along the direction, its gradient.
struct Trial {
  double t, loss, slope;
  Vector gradient;
};

/// Where the cubic through two trials is least, within bounds; their middle if there is no such.
double cubic_interpolate(const Trial& a, const Trial& b, double lowest, double highest) {
  const double d1 = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.t - b.t),
               square = d1 * d1 - a.slope * b.slope;
  if (square >= 0) {
    const double d2 = std::sqrt(square);
    const Trial &left = a.t <= b.t ? a : b, &right = a.t <= b.t ? b : a;
    const double place = right.t - (right.t - left.t) * ((right.slope + d2 - d1) /
                                                         (right.slope - left.slope + 2 * d2));
    if (std::isfinite(place)) return std::clamp(place, lowest, highest);
  }
  return (lowest + highest) / 2;
}

/// A step's length at which the strong Wolfe conditions hold (Nocedal & Wright 2006, algorithms 3.5
/// and 3.6), or the best that was found in max_ls trials. begin: at t = 0.
template <class At>
Trial strong_wolfe(const At& at, const Trial& begin, double first, double size_of_direction,
                   double tolerance_change, int64_t max_ls) {
  constexpr double c1 = 1e-4, c2 = 0.9;
  const auto falls_too_little = [&](const Trial& x) {
    return x.loss > begin.loss + c1 * x.t * begin.slope;
  };
  const auto is_flat = [&](const Trial& x) { return std::abs(x.slope) <= -c2 * begin.slope; };

  // Farther and farther, until a minimum lies between two trials.
  Trial low = begin, high = at(first);
  int64_t trials = 0;
  for (; trials < max_ls; ++trials) {
    if (falls_too_little(high) || (trials > 1 && high.loss >= low.loss)) break;
    if (is_flat(high)) return high;
    if (high.slope >= 0) break;
    constexpr double kLeast = 0.01, kMost = 10;
    const double t =
        cubic_interpolate(low, high, high.t + kLeast * (high.t - low.t), kMost * high.t);
    low = std::move(high);
    high = at(t);
  }
  if (trials == max_ls) low = begin;

  // Nearer and nearer; low is the better of the two.
  if (!(low.loss <= high.loss)) std::swap(low, high);
  bool near_an_end = false;
  for (; trials < max_ls; ++trials) {
    if (std::abs(high.t - low.t) * size_of_direction < tolerance_change) break;
    const auto [left, right] = std::minmax(low.t, high.t);
    double t = cubic_interpolate(low, high, left, right);
    constexpr double kShare = 0.1;
    const double margin = kShare * (right - left);
    if (std::min(right - t, t - left) < margin) {
      const bool move = near_an_end || t >= right || t <= left;
      if (move) t = std::abs(t - right) < std::abs(t - left) ? right - margin : left + margin;
      near_an_end = !move;
    } else {
      near_an_end = false;
    }
    Trial next = at(t);
    if (falls_too_little(next) || next.loss >= low.loss) {
      high = std::move(next);
      if (!(low.loss <= high.loss)) std::swap(low, high);
      continue;
    }
    const bool done = is_flat(next);
    if (!done && next.slope * (high.t - low.t) >= 0) high = std::move(low);
    low = std::move(next);
    if (done) break;
  }
  return low;
}

}  // namespace

double Lbfgs::minimize(const std::function<Tensor()>& closure, Memory& memory) {
  int64_t max_eval = 0;  // max_iter 5/4
  if (__builtin_add_overflow(options_.max_iter, options_.max_iter / 4, &max_eval))
    max_eval = std::numeric_limits<int64_t>::max();
  max_eval = options_.max_eval.value_or(max_eval);
  const int64_t before = memory.func_evals;
  const auto evaluations = [&] { return memory.func_evals - before; };
  const auto checked = [&](const Point& point) {
    check(point.finite(), "Lbfgs: the loss is {} or its gradient is not finite, {}", point.loss,
          evaluations() == 1 ? "where the step begins"
                             : "after an iteration without a line search; a smaller lr, or "
                               "LineSearch::strong_wolfe, may help");
    return point;
  };
  Point now = checked(evaluate(closure, memory));
  check(memory.n_iter == 0 || memory.gradient.size() == now.gradient.size(),
        "Lbfgs: the parameters have {} elements, and had {} when its memory began",
        now.gradient.size(), memory.gradient.size());
  const double first_loss = now.loss;
  const auto is_least = [&] { return largest(now.gradient) <= options_.tolerance_grad; };
  if (is_least()) return first_loss;
  for (int64_t n = 1; n <= options_.max_iter; ++n) {
    ++memory.n_iter;
    update_direction(memory, now.gradient);
    memory.gradient = now.gradient;
    const double loss_before = now.loss;
    const Vector& direction = memory.direction;
    double size = 0;
    for (double value : now.gradient) size += std::abs(value);
    memory.t = memory.n_iter == 1 ? std::min(1.0, 1 / size) * options_.lr : options_.lr;
    const double slope = dot(now.gradient, direction);
    if (slope > -options_.tolerance_change) break;

    const Vector from = values();
    bool least = false;
    if (options_.line_search_fn == LineSearch::strong_wolfe) {
      const auto at = [&](double t) {
        move(from, t, direction);
        Point point = evaluate(closure, memory);
        const double along = dot(point.gradient, direction);
        constexpr double kTooFar = std::numeric_limits<double>::infinity();
        const bool usable = std::isfinite(point.loss) && std::isfinite(along);
        return Trial{t, usable ? point.loss : kTooFar, along, std::move(point.gradient)};
      };
      Trial found =
          strong_wolfe(at, {0, now.loss, slope, now.gradient}, memory.t, largest(direction),
                       options_.tolerance_change, max_eval - evaluations());
      move(from, found.t, direction);
      memory.t = found.t;
      now = {found.loss, std::move(found.gradient)};
      least = is_least();
    } else {
      move(from, memory.t, direction);
      if (n != options_.max_iter) {
        now = checked(evaluate(closure, memory));
        least = is_least();
      }
    }
    if (evaluations() >= max_eval || least ||
        largest(direction) * std::abs(memory.t) <= options_.tolerance_change ||
        std::abs(now.loss - loss_before) < options_.tolerance_change)
      break;
  }
  return first_loss;
}

double Lbfgs::step(const std::function<Tensor()>& closure) {
  Restore restore(parameters_);
  Memory memory = memory_;
  const double loss = minimize(closure, memory);
  memory_ = std::move(memory);
  restore.keep_changes();
  return loss;
}

NamedTensors Lbfgs::state() const {
  const auto number = [](double value) { return full({}, value, DType::f64); };
  const auto count = [](int64_t value) {
    return Tensor::from(std::span<const int64_t>(&value, 1), {});
  };
  const auto vector = [](const Vector& x) {
    return Tensor::from(x, {static_cast<int64_t>(x.size())});
  };
  const auto rows = [&](Vector Pair::*which) {
    Vector all;
    for (const Pair& pair : memory_.pairs)
      all.insert(all.end(), (pair.*which).begin(), (pair.*which).end());
    return Tensor::from(all, {std::ssize(memory_.pairs), std::ssize(memory_.gradient)});
  };
  NamedTensors result{{"Lbfgs.n_iter", count(memory_.n_iter)},
                      {"Lbfgs.func_evals", count(memory_.func_evals)}};
  if (memory_.n_iter == 0) return result;
  result.emplace_back("Lbfgs.t", number(memory_.t));
  result.emplace_back("Lbfgs.H_diag", number(memory_.scale));
  result.emplace_back("Lbfgs.d", vector(memory_.direction));
  result.emplace_back("Lbfgs.prev_flat_grad", vector(memory_.gradient));
  result.emplace_back("Lbfgs.old_dirs", rows(&Pair::y));
  result.emplace_back("Lbfgs.old_stps", rows(&Pair::s));
  return result;
}

std::function<void()> Lbfgs::prepare_load(const NamedTensors& values) {
  const std::map<std::string, Tensor> given(values.begin(), values.end());
  const auto value = [&](const std::string& name, DType dtype, const Shape& shape) {
    const auto found = given.find("Lbfgs." + name);
    check(found != given.end() && found->second, "Lbfgs: no value for Lbfgs.{}", name);
    check(found->second.dtype() == dtype && found->second.shape() == shape,
          "Lbfgs: Lbfgs.{} is {} {}, must be {} {}", name, found->second.shape(),
          found->second.dtype(), shape, dtype);
    return found->second;
  };
  const auto count = [&](const char* name) {
    const int64_t n = value(name, DType::i64, {}).to_vector<int64_t>()[0];
    check(n >= 0, "Lbfgs: Lbfgs.{} is {}", name, n);
    return n;
  };
  Memory memory;
  memory.n_iter = count("n_iter");
  memory.func_evals = count("func_evals");
  size_t names = 2;
  if (memory.n_iter > 0) {
    names += 6;
    int64_t n = 0;
    for (const Tensor& p : parameters_) n += p.numel();
    memory.t = value("t", DType::f64, {}).item();
    memory.scale = value("H_diag", DType::f64, {}).item();
    memory.direction = value("d", DType::f64, {n}).to_vector<double>();
    memory.gradient = value("prev_flat_grad", DType::f64, {n}).to_vector<double>();
    const auto dirs = given.find("Lbfgs.old_dirs");
    const int64_t pairs =
        dirs != given.end() && dirs->second && dirs->second.ndim() == 2 ? dirs->second.size(0) : 0;
    check(pairs <= options_.history_size, "Lbfgs: the state has {} pairs, history_size is {}",
          pairs, options_.history_size);
    const Vector y = value("old_dirs", DType::f64, {pairs, n}).to_vector<double>(),
                 s = value("old_stps", DType::f64, {pairs, n}).to_vector<double>();
    for (int64_t i = 0; i < pairs; ++i) {
      const auto row = [&](const Vector& all) {
        return Vector(all.begin() + i * n, all.begin() + (i + 1) * n);
      };
      Pair pair{row(y), row(s), 0};
      pair.rho = 1 / dot(pair.y, pair.s);
      check(pair.rho > 0 && std::isfinite(pair.rho),
            "Lbfgs: pair {} of the state has no positive curvature", i);
      memory.pairs.push_back(std::move(pair));
    }
  }
  check(given.size() == names && values.size() == names,
        "Lbfgs: a state of {} values, {} were expected", values.size(), names);
  return [this, memory = std::move(memory)]() mutable { memory_ = std::move(memory); };
}

void Lbfgs::load_state(const NamedTensors& values) { prepare_load(values)(); }

}  // namespace gradus
