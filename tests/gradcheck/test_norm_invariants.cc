#define BOOST_TEST_MODULE norm_invariants
#include <gradus/autograd/functional/functional.h>
#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/compare.h>
#include <gradus/autograd/ops/conv.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/linear.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/gradcheck/norm_invariants.h>
#include <gradus/tensor/random.h>

#include "tests/checks.h"

using namespace gradus;
using test::says;

namespace {

Tensor normal(const Shape& shape, uint64_t seed) {
  Generator generator(seed);
  return randn(shape, generator, DType::f64);
}

/// A fused norm, and the groups it normalizes.
struct Case {
  const char* what;
  Shape x;
  int64_t weights;
  std::function<Tensor(const Tensor& x, const Tensor& w, const Tensor& b, double eps)> norm;
  std::function<NormGroups(const Tensor& x)> groups;
};

const std::vector<Case> kCases = {
    {"layer_norm",
     {6, 5},
     5,
     [](const Tensor& x, const Tensor& w, const Tensor& b, double eps) {
       return layer_norm(x, {5}, w, b, {.eps = eps});
     },
     [](const Tensor& x) { return layer_norm_groups(x, {5}); }},
    {"batch_norm",
     {6, 4},
     4,
     [](const Tensor& x, const Tensor& w, const Tensor& b, double eps) {
       return batch_norm(x, w, b, {.eps = eps}).y;
     },
     [](const Tensor& x) { return batch_norm_groups(x); }},
    {"batch_norm of images",
     {3, 2, 4, 5},
     2,
     [](const Tensor& x, const Tensor& w, const Tensor& b, double eps) {
       return batch_norm(x, w, b, {.eps = eps}).y;
     },
     [](const Tensor& x) { return batch_norm_groups(x); }},
    {"batch_norm, masked",
     {5, 3, 2},
     2,
     [](const Tensor& x, const Tensor& w, const Tensor& b, double eps) {
       return batch_norm(
                  x, w, b,
                  {.eps = eps, .axis = ChannelAxis::last, .valid = less(normal({5, 3}, 9), 0.5)})
           .y;
     },
     [](const Tensor& x) {
       return batch_norm_groups(x, ChannelAxis::last, less(normal({5, 3}, 9), 0.5));
     }}};

}  // namespace

BOOST_AUTO_TEST_CASE(gradients_keep_them_for_any_eps) {
  for (const Case& c : kCases)
    for (const double eps : {1e-5, 1e-2, 1.0}) {
      const Tensor x = normal(c.x, 1), w = normal({c.weights}, 2), b = normal({c.weights}, 3),
                   dy = normal(c.x, 4);
      const auto norm = [&](const Tensor& in) { return c.norm(in, w, b, eps); };
      const Tensor dx = vjp(norm, x, dy);
      const NormGroups groups = c.groups(x);
      const Invariant sum = gradient_sum(groups, dx),
                      along = gradient_along_xhat(groups, x, w, dy, dx, eps);
      BOOST_TEST(sum.holds(), c.what << ": " << sum.error());
      BOOST_TEST(along.holds(), c.what << ": " << along.error());
      // eps is not lost in the tolerance: a loose zero would not do.
      if (eps >= 1e-2) {
        Invariant loose = along;
        loose.expected = zeros_like(along.expected);
        BOOST_TEST(!loose.holds(1e-5), c.what);
      }
      // A dropped mean term breaks the first, a dropped variance term the second.
      const NormBackward terms = norm_backward(groups, norm_forward(groups, x, w, b, eps), w, dy);
      BOOST_TEST(!gradient_sum(groups, clear_invalid(groups, terms.direct - terms.variance_term))
                      .holds(1e-3));
      BOOST_TEST(!gradient_along_xhat(groups, x, w, dy,
                                      clear_invalid(groups, terms.direct - terms.mean_term), eps)
                      .holds(1e-3));
    }
}

BOOST_AUTO_TEST_CASE(outputs_keep_them_under_scaling_and_shifting) {
  for (const Case& c : kCases)
    for (const auto& [a, b, eps] : std::vector<std::array<double, 3>>{
             {3, 0, 1e-5}, {0.01, 2, 1e-5}, {-2, 1000, 1e-5}, {1e-3, 0, 1e-3}, {5, -1, 1.0}}) {
      const Tensor x = normal(c.x, 1), w = normal({c.weights}, 2), bias = normal({c.weights}, 3);
      const double epsilon = eps;
      const auto norm = [&](const Tensor& in) { return c.norm(in, w, bias, epsilon); };
      const Invariant found = scaled_and_shifted(norm, c.groups(x), x, w, bias, eps, a, b);
      BOOST_TEST(found.holds(), c.what << " " << a << " x + " << b << ": " << found.error());
    }
}

BOOST_AUTO_TEST_CASE(weights_before_a_batch_norm_are_orthogonal_to_their_gradient) {
  struct Before {
    Shape x, w;
    Function product;
  };
  const std::vector<Before> cases = {
      {{8, 3}, {4, 3}, [](const Tensor& x, const Tensor& w) { return linear(x, w); }},
      {{3, 2, 5, 4}, {3, 2, 3, 2}, [](const Tensor& x, const Tensor& w) { return conv2d(x, w); }}};
  for (const Before& c : cases)
    for (const double eps : {1e-5, 1e-1}) {
      const Tensor inputs[] = {normal(c.x, 1), normal(c.w, 2)};
      const Tensor z = c.product(inputs), gamma = normal({c.w[0]}, 3), dy = normal(z.shape(), 4);
      const Function loss = [&](std::span<const Tensor> in) {
        return batch_norm(c.product(in), gamma, {}, {.eps = eps}).y;
      };
      const Tensor dw = vjp(loss, inputs, dy)[1];
      const Invariant found =
          weight_along_itself(batch_norm_groups(z), z, gamma, dy, inputs[1], dw, eps);
      BOOST_TEST(found.holds(), str(c.w) << ": " << found.error());
      Invariant loose = found;
      loose.expected = zeros_like(found.expected);
      BOOST_TEST(loose.holds(1e-12) == false);
      BOOST_TEST(!weight_along_itself(batch_norm_groups(z), z, gamma, dy, inputs[1],
                                      dw + inputs[1] * 1e-3, eps)
                      .holds(1e-6));
    }
  BOOST_CHECK_EXCEPTION(
      weight_along_itself(batch_norm_groups(zeros({3, 2}, DType::f64)), normal({3, 2}, 1), {},
                          normal({3, 2}, 2), normal({5, 2}, 3), normal({5, 2}, 4), 1e-5),
      Error, says("w (5, 2) for a Batch Normalization of 2 channels"));
}
