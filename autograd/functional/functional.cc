#include <gradus/autograd/functional/functional.h>
#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/tensor/random.h>

#include <algorithm>
#include <cmath>
#include <optional>

namespace gradus {

namespace {

/// The tape that records, or one of its own; and the xs as variables that it follows, each of its
/// own, even where one of them is another one or was made of it.
class Recording {
 public:
  explicit Recording(std::span<const Tensor> inputs) : nested_(detail::recorder != nullptr) {
    if (!nested_) own_.emplace();
    for (const Tensor& x : inputs) {
      check(static_cast<bool>(x), "a function's argument is an empty Tensor");
      xs.push_back(needs_grad(x) && nested_ ? reshape(x, x.shape()) : leaf(x));
    }
  }

  Tape& tape() { return own_ ? *own_ : *detail::recorder; }
  /// Where a tape records already, results must go on it.
  CreateGraph if_nested() const { return nested_ ? CreateGraph::yes : CreateGraph::no; }

  std::vector<Tensor> xs;

 private:
  /// Another handle to the same elements, so that x itself stays as it is.
  static Tensor leaf(const Tensor& x) {
    check(is_floating(x.dtype()), "{} {} has no derivative", x.shape(), name(x.dtype()));
    return as_strided(x, x.shape(), std::span(x.strides(), static_cast<size_t>(x.ndim())), 0)
        .set_requires_grad();
  }

  bool nested_;
  std::optional<Tape> own_;
};

Tensor run(const char* what, const Function& f, Recording& recording) {
  Tensor y = f(recording.xs);
  check(static_cast<bool>(y), "{}: the function returned no tensor", what);
  check(is_floating(y.dtype()), "{}: the result {} {} has no derivative", what, y.shape(),
        name(y.dtype()));
  return y;
}

Tensor inner(std::span<const Tensor> a, std::span<const Tensor> b) {
  Tensor total;
  for (size_t i = 0; i < a.size(); ++i) {
    if (!a[i]) continue;
    const Tensor term = sum(a[i] * b[i]);
    total = total ? total + term : term;
  }
  return total;
}

void zeros_where_empty(std::vector<Tensor>& dx, std::span<const Tensor> xs) {
  for (size_t i = 0; i < dx.size(); ++i)
    if (!dx[i]) dx[i] = zeros_like(xs[i]);
}

void check_like(const char* what, std::span<const Tensor> xs, std::span<const Tensor> vs) {
  check(xs.size() == vs.size(), "{}: {} vectors for {} tensors", what, vs.size(), xs.size());
  for (size_t i = 0; i < xs.size(); ++i)
    check(vs[i] && vs[i].shape() == xs[i].shape() && vs[i].dtype() == xs[i].dtype(),
          "{}: vector {} is {}, its tensor {} {}", what, i,
          vs[i] ? fmt::format("{} {}", vs[i].shape(), name(vs[i].dtype())) : "empty", xs[i].shape(),
          name(xs[i].dtype()));
}

/// The gradient of a scalar f, on the tape.
std::vector<Tensor> recorded_gradient(const char* what, const Function& f, Recording& recording) {
  const Tensor y = run(what, f, recording);
  check(y.numel() == 1, "{}: the function's result is {}, not a scalar", what, y.shape());
  return recording.tape().gradient(
      y, recording.xs,
      {.create_graph = CreateGraph::yes, .dy = ones_like(y), .allow_unused = true});
}

/// The gradient of each element of y, stacked: y's shape and then x's.
Tensor rows(Recording& recording, const Tensor& y, CreateGraph create_graph) {
  const Tensor& x = recording.xs[0];
  TensorList gradients;
  for (int64_t j = 0; j < y.numel(); ++j) {
    Tensor dy = zeros(y.shape(), y.dtype());
    dispatch_floating(y.dtype(), "jacobian", [&]<class T>() { dy.mutable_data<T>()[j] = 1; });
    std::vector<Tensor> dx = recording.tape().gradient(
        y, recording.xs,
        {.create_graph = create_graph, .keep_graph = true, .dy = dy, .allow_unused = true});
    zeros_where_empty(dx, recording.xs);
    gradients.push_back(dx[0]);
  }
  Shape shape = y.shape();
  for (int64_t size : x.shape()) shape.push_back(size);
  return gradients.empty() ? zeros(shape, x.dtype()) : reshape(stack(gradients), shape);
}

}  // namespace

std::vector<Tensor> vjp(const Function& f, std::span<const Tensor> xs, const Tensor& u) {
  Recording recording(xs);
  const Tensor y = run("vjp", f, recording);
  check_like("vjp", std::span(&y, 1), std::span(&u, 1));
  std::vector<Tensor> dx = recording.tape().gradient(
      y, recording.xs, {.create_graph = recording.if_nested(), .dy = u, .allow_unused = true});
  zeros_where_empty(dx, xs);
  return dx;
}

Tensor jvp(const Function& f, std::span<const Tensor> xs, std::span<const Tensor> vs) {
  check_like("jvp", xs, vs);
  Recording recording(xs);
  const Tensor y = run("jvp", f, recording);
  const Tensor u = zeros_like(y).set_requires_grad();
  const std::vector<Tensor> dx = recording.tape().gradient(
      y, recording.xs, {.create_graph = CreateGraph::yes, .dy = u, .allow_unused = true});
  const Tensor slope = inner(dx, vs);
  std::vector<Tensor> jv(1);
  if (slope)
    jv = recording.tape().gradient(slope, std::span(&u, 1),
                                   {.create_graph = recording.if_nested(), .allow_unused = true});
  zeros_where_empty(jv, std::span(&y, 1));
  return jv[0];
}

std::vector<Tensor> hvp(const Function& f, std::span<const Tensor> xs, std::span<const Tensor> vs) {
  check_like("hvp", xs, vs);
  Recording recording(xs);
  const Tensor slope = inner(recorded_gradient("hvp", f, recording), vs);
  std::vector<Tensor> hv(xs.size());
  if (slope && needs_grad(slope))
    hv = recording.tape().gradient(slope, recording.xs,
                                   {.create_graph = recording.if_nested(), .allow_unused = true});
  zeros_where_empty(hv, xs);
  return hv;
}

Tensor jacobian(const Function& f, const Tensor& x) {
  Recording recording(std::span(&x, 1));
  const Tensor y = run("jacobian", f, recording);
  return rows(recording, y, recording.if_nested());
}

Tensor hessian(const Function& f, const Tensor& x) {
  Recording recording(std::span(&x, 1));
  const Tensor dx = recorded_gradient("hessian", f, recording)[0];
  if (dx && needs_grad(dx)) return rows(recording, dx, recording.if_nested());
  Shape twice = x.shape();
  for (int64_t size : x.shape()) twice.push_back(size);
  return zeros(twice, x.dtype());
}

namespace {

double dot(std::span<const Tensor> a, std::span<const Tensor> b) {
  double total = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const std::vector<double> x = a[i].to_vector<double>(), y = b[i].to_vector<double>();
    for (size_t k = 0; k < x.size(); ++k) total += x[k] * y[k];
  }
  return total;
}

/// a + scale b, a new tensor each.
std::vector<Tensor> combine(std::span<const Tensor> a, double scale, std::span<const Tensor> b) {
  std::vector<Tensor> result;
  for (size_t i = 0; i < a.size(); ++i) result.push_back(a[i] + b[i] * scale);
  return result;
}

std::vector<Tensor> scaled(std::span<const Tensor> a, double scale) {
  std::vector<Tensor> result;
  for (const Tensor& x : a) result.push_back(x * scale);
  return result;
}

/// Of H + shift.
Eigenvalue power_iteration(const Function& f, std::span<const Tensor> xs,
                           const EigenvalueOptions& options, double shift, double& norm) {
  Eigenvalue e;
  Generator generator(options.seed, "eigenvector");
  for (const Tensor& x : xs) e.vector.push_back(randn(x.shape(), generator, x.dtype()));
  e.vector = scaled(e.vector, 1 / std::sqrt(dot(e.vector, e.vector)));
  while (e.iterations < options.max_iterations) {
    const std::vector<Tensor> hv = hvp(f, xs, e.vector);
    ++e.iterations;
    e.value = dot(e.vector, hv);
    norm = std::max(norm, std::sqrt(dot(hv, hv)));
    const std::vector<Tensor> rest = combine(hv, -e.value, e.vector);
    e.residual = std::sqrt(dot(rest, rest));
    e.converged = e.residual <= options.tolerance * std::max(std::abs(e.value), 1e-10 * norm);
    if (e.converged) break;
    const std::vector<Tensor> moved = combine(hv, shift, e.vector);
    e.vector = scaled(moved, 1 / std::sqrt(dot(moved, moved)));
  }
  return e;
}

}  // namespace

Eigenvalue largest_hessian_eigenvalue(const Function& f, std::span<const Tensor> xs,
                                      const EigenvalueOptions& options) {
  const NoRecord pause;
  double norm = 0;
  Eigenvalue e = power_iteration(f, xs, options, 0, norm);
  if (e.converged && e.value >= 0) return e;
  const int spent = e.iterations;
  e = power_iteration(f, xs, options, norm, norm);
  e.iterations += spent;
  return e;
}

}  // namespace gradus
