#define BOOST_TEST_MODULE loss
#include <gradus/autograd/ops/cross_entropy.h>
#include <gradus/autograd/ops/loss.h>
#include <gradus/autograd/ops/shape.h>

#include <limits>

#include "tests/checks.h"

using namespace gradus;
using test::says;
using test::wave;

namespace {

void check_equal(const std::string& what, const Tensor& y, const std::vector<double>& expected) {
  test::check_close(what, y, expected, 2e-15);
}

}  // namespace

BOOST_AUTO_TEST_CASE(extreme_logits_stay_finite) {
  const Tensor x = Tensor::of({{1000, -1000, 0}, {-1000, 1000, 0}, {0, 0, 0}});
  const Tensor labels = Tensor::of({0, 0, 2}, DType::i64);
  check_equal("cross_entropy", cross_entropy(x, labels, {.reduction = Reduction::none}),
              {0, 2000, static_cast<double>(static_cast<float>(std::log(3.0)))});
  const Tensor z = Tensor::of({{1, 1, 0}, {1, 1, 0}, {0, 1, 0.5}});
  const double log2 = static_cast<double>(static_cast<float>(std::log(2.0)));
  for (double delta :
       binary_cross_entropy_with_logits(x, z, {.reduction = Reduction::none}).to_vector<double>())
    BOOST_TEST(std::isfinite(delta));
  check_equal("bce",
              select(binary_cross_entropy_with_logits(x, z, {.reduction = Reduction::none}), 0, 0),
              {0, 1000, log2});
}

// Where a target is near its probability, what is left is far below x: f32 against f64 of the same
// numbers. All parts of the loss are positive, so nothing of it need be lost.
BOOST_AUTO_TEST_CASE(binary_cross_entropy_keeps_small_losses) {
  for (double q : {0.0, 1.0, 3.0})  // 0: none
    for (double size = 0.125; size < 80; size *= 1.37)
      for (double v : {size, -size})
        for (double z : {0.0, 1e-7, 1 / (1 + std::exp(-v)), 0.5, 1 - 1e-6, 1.0}) {
          const Tensor x = full({1}, v), target = full({1}, z);
          std::vector<double> losses, slopes;
          for (DType dtype : {DType::f32, DType::f64}) {
            const Tensor w = q > 0 ? full({1}, q, dtype) : Tensor();
            const Tensor in = raw::cast(x, dtype).set_requires_grad();
            Tape tape;
            const Tensor loss =
                binary_cross_entropy_with_logits(in, raw::cast(target, dtype), {.pos_weight = w});
            tape.backward(loss);
            losses.push_back(loss.item());
            slopes.push_back(in.grad().at({0}));
          }
          BOOST_TEST_CONTEXT("x " << v << ", target " << z << ", pos_weight " << q) {
            BOOST_TEST(std::abs(losses[0] - losses[1]) <= 0x1p-20 * losses[1]);
            if (z == 0 || z == 1)
              BOOST_TEST(std::abs(slopes[0] - slopes[1]) <= 0x1p-20 * std::abs(slopes[1]));
          }
        }
}

// With a weight of positives: against the definition in long double, whatever the weight, 0 and
// tiny ones too, and at both ends of x.
BOOST_AUTO_TEST_CASE(binary_cross_entropy_by_the_target) {
  using Long = long double;
  const auto softplus = [](Long x) { return std::max(x, Long(0)) + log1pl(expl(-fabsl(x))); };
  for (DType dtype : {DType::f32, DType::f64})
    for (double weight : {0.0, 1e-9, 0.25, 1.0, 3.0})
      for (double size : {0.0, 0.125, 1.0, 5.0, 20.0, 60.0})
        for (double v : {size, -size})
          for (double target : {0.0, 0.5, 1.0}) {
            Tensor x = full({1}, v, dtype).set_requires_grad(),
                   z = full({1}, target, dtype).set_requires_grad();
            const Tensor w = full({1}, weight, dtype);
            const Long q = w.item(), t = target;
            Tape tape;
            const Tensor loss = binary_cross_entropy_with_logits(x, z, {.pos_weight = w});
            const auto close = [&](const char* what, double value, Long expected, Long parts) {
              const Long bound = (dtype == DType::f32 ? 0x1p-20L : 0x1p-48L) * parts;
              BOOST_TEST(
                  std::abs(static_cast<double>(value - expected)) <= static_cast<double>(bound),
                  what << ": " << value << ", not " << static_cast<double>(expected) << ", x " << v
                       << " z " << target << " q " << weight);
            };
            const Long up = softplus(-v), down = softplus(v), l = q * t * up + (1 - t) * down;
            close("loss", loss.item(), l, l);
            const auto first = tape.gradient(loss, {x, z}, {.create_graph = CreateGraph::yes});
            close("dz", first[1].item(), q * up - down, std::max(q * up, down));
            const Long p = 1 / (1 + expl(-v)), rest = 1 / (1 + expl(v)),
                       dx = (1 - t) * p - q * t * rest;
            close("dx", first[0].item(), dx, std::max((1 - t) * p, q * t * rest));
            const Tensor mixed = tape.gradient(first[1], x, {.dy = ones({1}, dtype)});
            close("dz dx", mixed.item(), -q * rest - p, q * rest + p);
          }
  // Weights of 1 are none.
  for (const double v : {-1.0 * INFINITY, 1.0 * INFINITY, 0.0, -1e300}) {
    std::vector<double> slopes;
    for (const Tensor& w : {Tensor(), ones({1}, DType::f64)}) {
      Tensor z = full({1}, 0.5, DType::f64).set_requires_grad();
      Tape tape;
      slopes.push_back(tape.gradient(binary_cross_entropy_with_logits(full({1}, v, DType::f64), z,
                                                                      {.pos_weight = w}),
                                     z)
                           .item());
    }
    BOOST_TEST(slopes[0] == slopes[1], v);
  }
}

// An ignored row may hold anything.
BOOST_AUTO_TEST_CASE(ignored_rows_are_not_read) {
  Tensor x = wave({3, 4}, 2, 0.7);
  Tensor rest = raw::clone(slice(x, 0, 1, 3)).set_requires_grad();
  for (int64_t j = 0; j < 4; ++j)
    x.mutable_data<double>()[j] = std::numeric_limits<double>::quiet_NaN();
  x.set_requires_grad();
  Tape tape;
  const Tensor y = cross_entropy(x, Tensor::of({-100, 3, 1}, DType::i64));
  const Tensor expected = cross_entropy(rest, Tensor::of({3, 1}, DType::i64));
  BOOST_TEST(y.item() == expected.item());
  tape.backward(y);
  tape.backward(expected);
  for (int64_t j = 0; j < 4; ++j) {
    BOOST_TEST(x.grad().at({0, j}) == 0.0);
    BOOST_TEST(x.grad().at({1, j}) == rest.grad().at({0, j}));
  }
  const Tensor none = Tensor::of({7, 7, 7}, DType::i64);
  BOOST_TEST(cross_entropy(x, none, {.ignore_index = 7, .reduction = Reduction::sum}).item() == 0);
}

BOOST_AUTO_TEST_CASE(bad_input) {
  const Tensor x = zeros({3, 4}), labels = Tensor::of({0, 4, 1}, DType::i64);
  const Tensor good = Tensor::of({0, 3, 1}, DType::i64);
  BOOST_CHECK_EXCEPTION(cross_entropy(x, labels), Error, says("label 4 of row 1"));
  BOOST_CHECK_EXCEPTION(cross_entropy(x, labels), Error, says("4 classes"));
  BOOST_CHECK_EXCEPTION(cross_entropy(x, Tensor::of({0, -1, 1}, DType::i64)), Error,
                        says("label -1 of row 1"));
  BOOST_CHECK_EXCEPTION(cross_entropy(x, Tensor::of({0, 1, 1})), Error, says("labels are f32"));
  BOOST_CHECK_EXCEPTION(cross_entropy(x, Tensor::of({0, 1}, DType::i64)), Error,
                        says("logits (3, 4) and labels (2,)"));
  BOOST_CHECK_EXCEPTION(cross_entropy(x, good, {.label_smoothing = 1.5}), Error, says("1.5"));
  BOOST_CHECK_EXCEPTION(cross_entropy(x, good, {.weight = zeros({3})}), Error,
                        says("shape (3,) for 4 classes"));
  BOOST_CHECK_EXCEPTION(cross_entropy(x, Tensor::of({2, 2, 2}, DType::i64), {.ignore_index = 2}),
                        Error, says("every label is ignored"));
  BOOST_CHECK_EXCEPTION(cross_entropy(x, good, {.weight = zeros({4})}), Error, says("weight 0"));
  BOOST_CHECK_EXCEPTION(cross_entropy(zeros({0, 4}), zeros({0}, DType::i64)), Error,
                        says("the batch is empty"));
  BOOST_CHECK_EXCEPTION(mse_loss(x, zeros({3, 1})), Error, says("x (3, 4) and target (3, 1)"));
  BOOST_CHECK_EXCEPTION(mse_loss(x, zeros({3, 4}, DType::f64)), Error, says("f32 and f64"));
  BOOST_CHECK_EXCEPTION(mse_loss(zeros({0, 4}), zeros({0, 4})), Error, says("for a mean"));
  BOOST_CHECK_EXCEPTION(huber_loss(x, x, 0), Error, says("delta is 0"));
  BOOST_CHECK_EXCEPTION(binary_cross_entropy_with_logits(x, x, {.weight = zeros({3})}), Error,
                        says("(3, 4) and (3,)"));
  BOOST_CHECK_EXCEPTION(binary_cross_entropy_with_logits(x, x, {.pos_weight = zeros({2, 3, 4})}),
                        Error, says("pos_weight (2, 3, 4)"));
}
