#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/compare.h>
#include <gradus/autograd/ops/conv.h>
#include <gradus/autograd/ops/linear.h>
#include <gradus/autograd/ops/matmul.h>
#include <gradus/autograd/ops/pool.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>

#include <cmath>

#include "tests/mutations/mutant.h"

namespace gradus::mutations {

namespace {

const Function kMatmul = [](const Tensor& a, const Tensor& b) { return matmul(a, b); };
const Function kLinear = [](const Tensor& x, const Tensor& w, const Tensor& b) {
  return linear(x, w, b);
};
const Function kLinearRelu = [](const Tensor& x, const Tensor& w, const Tensor& b) {
  return linear(x, w, b, Activation::relu);
};
const Function kConv = [](const Tensor& x, const Tensor& w, const Tensor& b) {
  return conv2d(x, w, b, {.padding = {1, 1}});
};
const Function kRowConv = [](const Tensor& x, const Tensor& w, const Tensor& b) {
  return conv2d(x, w, b);
};
const Function kGroupConv = [](const Tensor& x, const Tensor& w, const Tensor& b) {
  return conv2d(x, w, b, {.groups = 2});
};
const Function kMaxPool = [](const Tensor& x) { return max_pool2d(x, {2, 2}); };
const Function kOverlappingPool = [](const Tensor& x) {
  return max_pool2d(x, {1, 3}, {.stride = Pair{1, 1}});
};
const Function kAvgPool = [](const Tensor& x) { return avg_pool2d(x, {2, 3}); };
const Function kPaddedPool = [](const Tensor& x) {
  return avg_pool2d(x, {2, 2}, {.padding = {1, 1}});
};
const Function kAdaptivePool = [](const Tensor& x) { return adaptive_avg_pool2d(x, {2, 3}); };

/// All gradients of a layer's op, given what it kept and the shape of its bias.
std::vector<Tensor> right_layer(const Function& f, Backward& c, int64_t biases) {
  return right(f, {c.kept(0), c.kept(1), zeros({biases}, DType::f64)}, c.dy());
}
void set_all(Backward& c, const std::vector<Tensor>& dx) {
  for (size_t i = 0; i < dx.size(); ++i) c.set(static_cast<int>(i), dx[i]);
}

/// y of a max pooling at each element's window (2, 2), where it is the largest or not.
Tensor spread_over_windows(const Tensor& dy) {
  return reshape(expand(reshape(dy, {3, 2, 2, 1, 3, 1}), {3, 2, 2, 2, 3, 2}), {3, 2, 4, 6});
}

}  // namespace

std::vector<Mutant> product_mutants() {
  const char *const product = "matmul, linear", *const conv = "conv", *const pool = "pool";
  const auto layer = of_layer({4, 5}, {3, 5}, {3}, kLinear);
  const auto images = of_layer({3, 2, 4, 5}, {3, 2, 3, 2}, {3}, kConv);
  const auto lines = of_layer({3, 1, 1, 9}, {1, 1, 1, 3}, {1}, kRowConv);
  return {
      {product,
       "matmul",
       "da = dy b for dy b^T, which square b let pass",
       [](Backward& c) {
         c.set(0, matmul(c.dy(), c.kept(1)));
         c.set(1, matmul(c.kept(0), c.dy(), true));
       },
       of_ab({4, 3}, {3, 3}, kMatmul),
       {"a"},
       Pattern::transposition},
      {product,
       "matmul",
       "db is written transposed",
       [](Backward& c) {
         c.set(0, matmul(c.dy(), c.kept(1), false, true));
         c.set(1, reshape(contiguous(transpose(matmul(c.kept(0), c.dy(), true))), {3, 5}));
       },
       of_ab({4, 3}, {3, 5}, kMatmul),
       {"b"},
       Pattern::transposition},
      {product,
       "matmul",
       "db of the last product alone, overwritten along the batch",
       [](Backward& c) {
         c.set(0, matmul(c.dy(), c.kept(1), false, true));
         c.set(1, matmul(select(c.kept(0), 0, 2), select(c.dy(), 0, 2), true));
       },
       of_ab({3, 4, 2}, {2, 5}, kMatmul),
       {"b"},
       Pattern::overwritten},
      {product,
       "matmul",
       "detached: no gradient of b",
       [](Backward& c) { c.set(0, matmul(c.dy(), c.kept(1), false, true)); },
       of_ab({4, 3}, {3, 5}, kMatmul),
       {"b"},
       Pattern::no_gradient},
      {product,
       "matmul",
       "one entry off by 1e-3",
       [](Backward& c) {
         c.set(0, matmul(c.dy(), c.kept(1), false, true));
         c.set(1, with_entry(matmul(c.kept(0), c.dy(), true), 7, 1 + 1e-3));
       },
       of_ab({4, 3}, {3, 5}, kMatmul),
       {"b"},
       Pattern::factor},
      {product,
       "linear",
       "db of the first row alone",
       [](Backward& c) {
         std::vector<Tensor> d = right_layer(kLinear, c, 3);
         d[2] = select(c.dy(), 0, 0);
         set_all(c, d);
       },
       layer,
       {"bias"},
       Pattern::broadcast_unreduced},
      {product,
       "linear",
       "dw averaged over the batch",
       [](Backward& c) {
         std::vector<Tensor> d = right_layer(kLinear, c, 3);
         d[1] = d[1] / 4;
         set_all(c, d);
       },
       layer,
       {"weight"},
       Pattern::factor},
      {product,
       "linear",
       "db counted twice",
       [](Backward& c) {
         right_backward(c);
         c.set(2, sum(c.dy(), {0}));
       },
       layer,
       {"bias"},
       Pattern::factor},
      {product,
       "linear",
       "dx = dy w^T for dy w, which square w let pass",
       [](Backward& c) {
         c.set(0, matmul(c.dy(), c.kept(1), false, true));
         c.set(1, matmul(c.dy(), c.kept(0), true));
         c.set(2, sum(c.dy(), {0}));
       },
       of_layer({5, 4}, {4, 4}, {4}, kLinear),
       {"x"},
       Pattern::transposition},
      {product,
       "linear",
       "one entry of dw off by 1e-6",
       [](Backward& c) {
         std::vector<Tensor> d = right_layer(kLinear, c, 3);
         d[1] = with_entry(d[1], 8, 1 + 1e-6);
         set_all(c, d);
       },
       layer,
       {"weight"},
       Pattern::factor},
      {product,
       "linear",
       "relu: mask not applied",
       [](Backward& c) { set_all(c, right_layer(kLinear, c, 3)); },
       of_layer({4, 5}, {3, 5}, {3}, kLinearRelu),
       {"x", "weight", "bias"},
       Pattern::mask_not_applied},

      {conv,
       "conv2d",
       "dx with the kernel not turned round",
       [](Backward& c) {
         std::vector<Tensor> d = right_layer(kRowConv, c, 1);
         Tensor turned = copy_of(c.kept(1));
         std::swap(values(turned)[0], values(turned)[2]);
         d[0] = right(kRowConv, {c.kept(0), turned, zeros({1}, DType::f64)}, c.dy())[0];
         set_all(c, d);
       },
       lines,
       {"x"}},
      {conv,
       "conv2d",
       "dx off by one place in the padding",
       [](Backward& c) {
         std::vector<Tensor> d = right_layer(kRowConv, c, 1);
         d[0] = concat({slice(d[0], 3, 1, 9), zeros({3, 1, 1, 1}, DType::f64)}, 3);
         set_all(c, d);
       },
       lines,
       {"x"},
       Pattern::shift},
      {conv,
       "conv2d",
       "dx of the last window alone, overwritten",
       [](Backward& c) {
         std::vector<Tensor> d = right_layer(kRowConv, c, 1);
         const Tensor w = copy_of(c.kept(1)), dy = copy_of(c.dy());
         Tensor dx = zeros({3, 1, 1, 9}, DType::f64);
         for (int64_t n = 0; n < 3; ++n)
           for (int64_t o = 0; o < 7; ++o)
             for (int64_t k = 0; k < 3; ++k)
               values(dx)[n * 9 + o + k] = dy.data<double>()[n * 7 + o] * w.data<double>()[k];
         d[0] = dx;
         set_all(c, d);
       },
       lines,
       {"x"},
       Pattern::overwritten},
      {conv,
       "conv2d",
       "dw of the last image alone, overwritten",
       [](Backward& c) {
         std::vector<Tensor> d = right_layer(kConv, c, 3);
         Tensor dy = copy_of(c.dy());
         for (int64_t k = 0; k < dy.numel() / 3 * 2; ++k) values(dy)[k] = 0;
         d[1] = right(kConv, {c.kept(0), c.kept(1), zeros({3}, DType::f64)}, dy)[1];
         set_all(c, d);
       },
       images,
       {"weight"},
       Pattern::overwritten},
      {conv,
       "conv2d",
       "db averaged over places and images",
       [](Backward& c) {
         std::vector<Tensor> d = right_layer(kConv, c, 3);
         d[2] = mean(c.dy(), {0, 2, 3});
         set_all(c, d);
       },
       images,
       {"bias"},
       Pattern::factor},
      {conv,
       "conv2d",
       "the second group's dw missing",
       [](Backward& c) {
         std::vector<Tensor> d = right_layer(kGroupConv, c, 4);
         Tensor dw = copy_of(d[1]);
         for (int64_t k = dw.numel() / 2; k < dw.numel(); ++k) values(dw)[k] = 0;
         d[1] = dw;
         set_all(c, d);
       },
       of_layer({2, 4, 3, 4}, {4, 2, 2, 2}, {4}, kGroupConv),
       {"weight"},
       Pattern::entries_missing},
      {conv,
       "conv2d",
       "dx at the border left out",
       [](Backward& c) {
         std::vector<Tensor> d = right_layer(kConv, c, 3);
         Tensor dx = copy_of(d[0]);
         for (int64_t k = 0; k < dx.numel(); k += 5) values(dx)[k] = 0;
         d[0] = dx;
         set_all(c, d);
       },
       images,
       {"x"},
       Pattern::entries_missing},

      {pool,
       "max_pool2d",
       "mask not applied: all of a window",
       [](Backward& c) { c.set(0, spread_over_windows(c.dy())); },
       of_x({3, 2, 4, 6}, kMaxPool),
       {"x"},
       Pattern::mask_not_applied},
      {pool,
       "max_pool2d",
       "overwritten where windows overlap",
       [](Backward& c) {
         Tensor dx = zeros({3, 1, 1, 9}, DType::f64);
         const Tensor at = c.kept(0), dy = copy_of(c.dy());
         for (int64_t k = 0; k < 21; ++k)
           values(dx)[k / 7 * 9 + at.data<int64_t>()[k]] = dy.data<double>()[k];
         c.set(0, dx);
       },
       of_x({3, 1, 1, 9}, kOverlappingPool),
       {"x"},
       Pattern::overwritten},
      {pool,
       "avg_pool2d",
       "not divided by the window's size",
       [](Backward& c) {
         c.set(0, right(kAvgPool, {zeros({3, 2, 4, 6}, DType::f64)}, c.dy())[0] * 6);
       },
       of_x({3, 2, 4, 6}, kAvgPool),
       {"x"},
       Pattern::factor},
      {pool,
       "avg_pool2d",
       "the padding not counted at the border",
       [](Backward& c) {
         Tensor dx = copy_of(right(kPaddedPool, {zeros({2, 1, 4, 6}, DType::f64)}, c.dy())[0]);
         for (int64_t k = 0; k < dx.numel(); ++k) {
           const int64_t i = k / 6 % 4, j = k % 6;
           values(dx)[k] *= (i == 0 || i == 3 ? 2 : 1) * (j == 0 || j == 5 ? 2 : 1);
         }
         c.set(0, dx);
       },
       of_x({2, 1, 4, 6}, kPaddedPool),
       {"x"},
       Pattern::factor_per_group},
      {pool,
       "adaptive_avg_pool2d",
       "divided by the largest window's size",
       [](Backward& c) {
         const Tensor x = zeros({3, 2, 5, 5}, DType::f64);
         Tensor dy = copy_of(c.dy());  // windows are 2, 3 and 2 columns wide
         for (int64_t k = 0; k < dy.numel(); ++k) values(dy)[k] *= k % 3 == 1 ? 1 : 2.0 / 3;
         c.set(0, right(kAdaptivePool, {x}, dy)[0]);
       },
       of_x({3, 2, 5, 5}, kAdaptivePool),
       {"x"},
       Pattern::factor_per_group},
  };
}

}  // namespace gradus::mutations
