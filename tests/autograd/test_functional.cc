#define BOOST_TEST_MODULE functional
#include <gradus/autograd/functional/functional.h>
#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/matmul.h>
#include <gradus/autograd/ops/norm.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/autograd/ops/softmax.h>
#include <gradus/gradcheck/samples.h>

#include "tests/checks.h"

using namespace gradus;
using test::check_close;
using test::says;
using test::wave;

namespace {

double inner(const Tensor& a, const Tensor& b) { return sum(a * b).item(); }

/// Functions to a vector that are not linear, of a (3, 4).
const std::vector<std::pair<const char*, Function>> kFunctions = {
    {"tanh(x) exp(x)", [](const Tensor& x) { return gradus::tanh(x) * gradus::exp(x); }},
    {"softmax", [](const Tensor& x) { return softmax(x, -1); }},
    {"layer_norm", [](const Tensor& x) { return layer_norm(x, {4}, wave({4}, 0.3, 1, 1)); }},
    {"batch_norm", [](const Tensor& x) { return batch_norm(x, wave({4}, 0.3, 1, 1)).y; }},
    {"x x^T", [](const Tensor& x) { return matmul(x, transpose(x)); }},
};

}  // namespace

// <J v, u> = <v, J^T u>, and both are the Jacobian's products.
BOOST_AUTO_TEST_CASE(jvp_and_vjp_are_the_jacobians_products) {
  const Tensor x = wave({3, 4}, 1.2, 0.7, 0.1), v = wave({3, 4}, 1, 1.9);
  for (const auto& [what, f] : kFunctions) {
    const Tensor y = f(std::span(&x, 1)), u = wave(y.shape(), 1, 0.3);
    const Tensor j = jacobian(f, x), jv = jvp(f, x, v), ju = vjp(f, x, u);
    BOOST_TEST((j.ndim() == y.ndim() + 2 && jv.shape() == y.shape() && ju.shape() == x.shape()));
    const Tensor flat = reshape(j, {y.numel(), x.numel()});
    check_close(what, jv, matmul(flat, reshape(v, {12, 1})).to_vector<double>(), 1e-13);
    check_close(what, ju, matmul(reshape(u, {1, y.numel()}), flat).to_vector<double>(), 1e-13);
    BOOST_TEST(std::abs(inner(jv, u) - inner(ju, v)) < 1e-12, what);
    BOOST_TEST(!x.requires_grad());
  }
}

BOOST_AUTO_TEST_CASE(hessians_are_symmetric_and_hvp_is_their_product) {
  const Tensor x = wave({3, 4}, 1.2, 0.7, 0.1), v = wave({3, 4}, 1, 1.9), u = wave({3, 4}, 1, 0.3);
  for (const auto& [what, g] : kFunctions) {
    const Function f = [&g = g](const Tensor& in) { return sum(square(g(std::span(&in, 1)))); };
    const Tensor h = reshape(hessian(f, x), {12, 12}), hv = hvp(f, x, v);
    check_close(what, transpose(h), h.to_vector<double>(), 1e-11);
    check_close(what, hv, matmul(h, reshape(v, {12, 1})).to_vector<double>(), 1e-11);
    BOOST_TEST(std::abs(inner(hv, u) - inner(hvp(f, x, u), v)) < 1e-10, what);
  }
}

// f = sum a_i x_i^4: the Hessian's diagonal is 12 a x^2, and d/dx of v^T H v is 24 a x v^2.
BOOST_AUTO_TEST_CASE(orders_nest) {
  const Tensor x = wave({5}, 1, 0.7, 1), a = wave({5}, 1, 1.1, 2), v = wave({5}, 1, 0.4);
  const Function f = [&](const Tensor& in) { return sum(a * square(square(in))); };
  const Function curvature = [&](const Tensor& in) { return sum(hvp(f, in, v) * v); };
  check_close("third", vjp(curvature, x, ones({}, DType::f64)),
              (24.0 * a * x * square(v)).to_vector<double>(), 1e-12);
  const Function slope = [&](const Tensor& in) { return vjp(curvature, in, ones({}, DType::f64)); };
  check_close("fourth", jvp(slope, x, v), (24.0 * a * square(v) * v).to_vector<double>(), 1e-12);
  const Function through_jvp = [&](const Tensor& in) { return jvp(f, in, v); };
  check_close("second", vjp(through_jvp, x, ones({}, DType::f64)),
              (12.0 * a * square(x) * v).to_vector<double>(), 1e-12);
}

BOOST_AUTO_TEST_CASE(several_tensors_and_those_without_effect) {
  const Tensor xs[] = {wave({3, 2}, 1, 0.7), wave({2, 4}, 1, 1.3), wave({2}, 1, 1)};
  const Tensor vs[] = {wave({3, 2}, 1, 0.2), wave({2, 4}, 1, 0.9), wave({2}, 1, 1)};
  const Function f = [](std::span<const Tensor> x) { return sum(square(matmul(x[0], x[1]))); };
  const std::vector<Tensor> hv = hvp(f, xs, vs);
  BOOST_TEST(hv.size() == 3);
  check_close("no effect", hv[2], {0, 0}, 0);
  // A quadratic function of a linear one: the Hessian of 0.5 |A x|^2 is A^T A.
  const Tensor a = wave({4, 3}, 1, 0.7);
  const Function quadratic = [&](const Tensor& x) {
    return mul(sum(square(matmul(a, reshape(x, {3, 1})))), 0.5);
  };
  check_close("A^T A", hessian(quadratic, wave({3}, 1, 1)),
              matmul(transpose(a), a).to_vector<double>(), 1e-13);
  // Linear: no curvature.
  const Function linear = [&](const Tensor& x) { return sum(x * wave({3}, 1, 1)); };
  check_close("linear", hessian(linear, wave({3}, 1, 1)), std::vector<double>(9, 0), 0);
}

// 0.5 x^T Q diag(d) Q^T x with an orthogonal Q of a rotation and a reflection.
BOOST_AUTO_TEST_CASE(largest_eigenvalue_also_below_a_larger_negative_one) {
  const double c = std::cos(0.6), s = std::sin(0.6);
  const Tensor q = Tensor::of({{c, s, 0}, {s, -c, 0}, {0, 0, 1}}, DType::f64);
  for (const auto& [d, largest] :
       std::vector<std::pair<Tensor, double>>{{Tensor::of({3, 1, -2}, DType::f64), 3},
                                              {Tensor::of({0.5, -4, 2}, DType::f64), 2},
                                              {Tensor::of({-1, -4, -2.5}, DType::f64), -1}}) {
    const Function f = [&, d = d](const Tensor& x) {
      const Tensor z = matmul(reshape(x, {1, 3}), q);
      return mul(sum(square(z) * d), 0.5);
    };
    const Tensor x = zeros({3}, DType::f64);
    const Eigenvalue e = largest_hessian_eigenvalue(f, std::span(&x, 1), {.tolerance = 1e-6});
    BOOST_TEST(e.converged);
    BOOST_TEST(std::abs(e.value - largest) < 1e-9, e.value << " for " << largest);
    const Tensor hv = hvp(f, x, e.vector[0]);
    check_close("H v", hv, (e.vector[0] * largest).to_vector<double>(), 1e-5);
  }
}

// Signs that balance, and spectra whose largest eigenvalue is far below the largest modulus: right,
// or said not to have converged.
BOOST_AUTO_TEST_CASE(largest_eigenvalue_of_awkward_spectra) {
  const auto largest = [](const Function& f, std::vector<double> at, uint64_t seed) {
    const int64_t n = static_cast<int64_t>(at.size());
    const Tensor x = Tensor::from(std::move(at), {n});
    return largest_hessian_eigenvalue(f, std::span(&x, 1), {.seed = seed});
  };
  const Function saddle = [](const Tensor& x) {
    return sum(slice(x, 0, 0, 1) * slice(x, 0, 1, 2));
  };
  for (uint64_t seed = 1; seed <= 6; ++seed) {
    const Eigenvalue e = largest(saddle, {0.3, 0.7}, seed);
    BOOST_TEST(e.converged, seed);
    BOOST_TEST(std::abs(e.value - 1) < 1e-4, seed << ": " << e.value);
  }
  for (const std::vector<double>& d : std::vector<std::vector<double>>{
           {-1000, 0.01, 0.02}, {-1000, -3, 2}, {-1e6, 1, 5}, {0, 0, 0}, {-1, 0, 0}, {-4, 4, 1}})
    for (uint64_t seed = 1; seed <= 3; ++seed) {
      const Tensor diagonal = Tensor::from(d, {3});
      const Eigenvalue e = largest([&](const Tensor& x) { return sum(square(x) * diagonal) * 0.5; },
                                   {0.3, 0.7, 0.1}, seed);
      const double right = *std::max_element(d.begin(), d.end());
      if (e.converged)
        BOOST_TEST(std::abs(e.value - right) <= 1e-4 * std::abs(right) + 1e-12,
                   right << ": " << e.value);
      BOOST_TEST((e.converged || d[0] < -100), right << " seed " << seed);
    }
}

BOOST_AUTO_TEST_CASE(mistakes_are_named) {
  const Tensor x = wave({3}, 1, 1);
  const Function constant = [](const Tensor&) { return ones({2}, DType::f64); };
  const Function vector = [](const Tensor& in) { return square(in); };
  BOOST_CHECK_EXCEPTION(vjp(constant, x, ones({3}, DType::f64)), Error,
                        says("vjp: vector 0 is (3,) f64, its tensor (2,) f64"));
  BOOST_CHECK_EXCEPTION(hvp(vector, x, x), Error, says("(3,), not a scalar"));
  BOOST_CHECK_EXCEPTION(jvp(vector, x, wave({4}, 1, 1)), Error,
                        says("vector 0 is (4,) f64, its tensor (3,) f64"));
  BOOST_CHECK_EXCEPTION(jacobian(vector, arange(3)), Error, says("i64 has no derivative"));
  const Function two = [](const Tensor& a, const Tensor& b) { return a * b; };
  BOOST_CHECK_EXCEPTION(jacobian(two, x), Error, says("a function of 2 tensors was given 1"));
}

// Each argument is a variable of its own, even if it is another one's tensor, or was made of it.
BOOST_AUTO_TEST_CASE(arguments_that_depend_on_each_other) {
  const auto f = [](std::span<const Tensor> x) { return sum(x[0] * square(x[1])); };
  const Tensor v = Tensor::of({1}, DType::f64), none = Tensor::of({0}, DType::f64);
  const auto check_at = [&](const char* what, const Tensor& a, const Tensor& b) {
    const Tensor one = full({}, 1, DType::f64);
    const auto d = vjp(f, std::vector{a, b}, one);
    check_close(what, d[0], {9}, 1e-14);
    check_close(what, d[1], {18}, 1e-14);
    check_close(what, jvp(f, std::vector{a, b}, std::vector{v, none}), {9}, 1e-14);
    const auto h = hvp(f, std::vector{a, b}, std::vector{v, none});
    check_close(what, h[0], {0}, 1e-14);
    check_close(what, h[1], {6}, 1e-14);
  };
  const Tensor x = Tensor::of({3}, DType::f64).set_requires_grad();
  check_at("a leaf twice", x, x);
  Tape tape;
  check_at("a leaf twice, on a tape", x, x);
  check_at("a result of the other", x, x * 1.0);
}
