#define BOOST_TEST_MODULE loss
#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/compare.h>
#include <gradus/autograd/ops/cross_entropy.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/loss.h>
#include <gradus/autograd/ops/reduce.h>
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

// 0 log 0 is 0, whatever the other factor: values, and gradients without NaN.
BOOST_AUTO_TEST_CASE(probabilities_of_zero) {
  const double inf = std::numeric_limits<double>::infinity();
  for (const bool log_target : {false, true}) {
    Tensor x = Tensor::of({-inf, -1.0, -2.0}, DType::f64).set_requires_grad();
    Tensor target = Tensor::of({0.0, 1.0, 0.5}, DType::f64);
    if (log_target) target = log(target);
    target.set_requires_grad();
    Tape tape;
    const Tensor y = kl_div(x, target, {.log_target = log_target, .reduction = Reduction::sum});
    BOOST_TEST(y.item() == 1 + 0.5 * (std::log(0.5) + 2));
    const auto d = tape.gradient(y, {x, target}, {.create_graph = CreateGraph::yes});
    check_equal("dx", d[0], {0, -1, -0.5});
    const double slope = std::log(0.5) + 2;
    check_equal("dt", d[1], {0, 2, log_target ? 0.5 * (1 + slope) : 1 + slope});
    BOOST_TEST(all_finite(tape.gradient(sum(square(d[1])), target)));
  }
  // A class that is masked out with -inf.
  Tensor logits = Tensor::of({{-inf, 1.0, 1.0}}, DType::f64).set_requires_grad();
  Tensor q = Tensor::of({{0.0, 0.5, 0.5}}, DType::f64).set_requires_grad();
  Tape tape;
  const Tensor y = cross_entropy(logits, q);
  check_equal("cross_entropy", y, {std::log(2.0)});
  check_equal("its gradient", tape.gradient(y, logits), {0, 0, 0});
  BOOST_TEST(std::isinf(cross_entropy(logits, Tensor::of({{0.5, 0.5, 0.0}}, DType::f64)).item()));
}

// As its documentation says: a gradient of 0 where a logarithm is limited, and none that is NaN.
BOOST_AUTO_TEST_CASE(binary_cross_entropy_at_its_ends) {
  for (DType dtype : {DType::f32, DType::f64}) {
    Tensor x = Tensor::of({0.0, 1.0, 0.0, 1.0}, dtype).set_requires_grad();
    const Tensor z = Tensor::of({1.0, 0.0, 0.0, 1.0}, dtype);
    Tape tape;
    const Tensor y = binary_cross_entropy(x, z, {.reduction = Reduction::none});
    BOOST_TEST(y.to_vector<double>() == (std::vector<double>{100, 100, 0, 0}),
               boost::test_tools::per_element());
    const Tensor dx = tape.gradient(sum(y), x, {.create_graph = CreateGraph::yes});
    BOOST_TEST(dx.to_vector<double>() == (std::vector<double>{0, 0, 1, -1}),
               boost::test_tools::per_element());
    BOOST_TEST(all_finite(tape.gradient(sum(dx), x)));
  }
}

BOOST_AUTO_TEST_CASE(cosine_of_any_size) {
  for (const double size : {1e-30, 1e-12, 1e-3, 1.0, 1e15, 1e25, 1e37}) {
    Tensor a = (Tensor::of({{3, 4}, {1, 0}}) * size).set_requires_grad();
    const Tensor b = Tensor::of({{4, 3}, {0, 1}}) * size;
    Tape tape;
    const Tensor y = cosine_similarity(a, b);
    // below eps = 1e-8 the norm is eps
    const double expected = size < 1e-8 ? 24 * size * 1e8 * size * 1e8 : 0.96;
    BOOST_TEST(std::abs(y.at({0}) - expected) <= 1e-6 * expected + 1e-44);
    BOOST_TEST(y.at({1}) == 0);
    const Tensor da = tape.gradient(sum(y), a);
    BOOST_TEST(all_finite(da));
    if (size < 1e-8) continue;
    // d cos / da = (b / |b| - cos a / |a|) / |a|
    const double dx = (0.8 - 0.96 * 0.6) / (5 * size), dy = (0.6 - 0.96 * 0.8) / (5 * size);
    BOOST_TEST(std::abs(da.at({0, 0}) - dx) <= 1e-5 * std::abs(dx));
    BOOST_TEST(std::abs(da.at({0, 1}) - dy) <= 1e-5 * std::abs(dy));
    BOOST_TEST(std::abs(da.at({1, 1}) - 1 / size) <= 1e-5 / size);
  }
  Tensor zero = zeros({1, 2}).set_requires_grad();
  Tape tape;
  const Tensor da = tape.gradient(cosine_similarity(zero, Tensor::of({{3, 4}})), zero);
  test::check_close("at 0", da, {0.6e8, 0.8e8}, 1e-6);
}

// Without its last axis var is of rows, where it would broadcast as columns, too.
BOOST_AUTO_TEST_CASE(gaussian_variance_of_rows) {
  const Tensor x = wave({3, 3}, 1, 0.3), t = wave({3, 3}, 2, 0.7),
               var = Tensor::of({0.5, 1.0, 2.0}, DType::f64);
  BOOST_TEST(gaussian_nll_loss(x, t, var).item() ==
             gaussian_nll_loss(x, t, expand(unsqueeze(var, 1), {3, 3})).item());
}

BOOST_AUTO_TEST_CASE(bad_input_of_compositions) {
  const Tensor x = zeros({3, 4}), good = Tensor::of({0, 3, 1}, DType::i64);
  BOOST_CHECK_EXCEPTION(l1_loss(x, zeros({3, 1})), Error,
                        says("l1_loss: x (3, 4) and target (3, 1)"));
  BOOST_CHECK_EXCEPTION(smooth_l1_loss(x, x, -1), Error, says("smooth_l1_loss: beta is -1"));
  BOOST_CHECK_EXCEPTION(smooth_l1_loss(x, x, 1e-42), Error, says("1e-42"));
  BOOST_CHECK_EXCEPTION(kl_div(zeros({0, 4}), zeros({0, 4})), Error, says("kl_div"));
  BOOST_CHECK_EXCEPTION(binary_cross_entropy(x - 3, x), Error, says("takes logits"));
  BOOST_CHECK_EXCEPTION(binary_cross_entropy(x, x, {.weight = zeros({3})}), Error,
                        says("(3, 4) and (3,)"));
  BOOST_CHECK_EXCEPTION(gaussian_nll_loss(x, x, x - 1), Error, says("negative"));
  BOOST_CHECK_EXCEPTION(gaussian_nll_loss(x, x, zeros({4})), Error, says("var (4,) for x (3, 4)"));
  BOOST_CHECK_EXCEPTION(gaussian_nll_loss(x, x, x, {.eps = 0}), Error, says("eps is 0"));
  BOOST_CHECK_EXCEPTION(cosine_similarity(x, x, 2), Error, says("cosine_similarity"));
  BOOST_CHECK_EXCEPTION(cosine_similarity(x, x, 1, 0), Error, says("eps is 0"));
  BOOST_CHECK_EXCEPTION(cosine_embedding_loss(x, x, Tensor::of({0, 1, 1}, DType::i64)), Error,
                        says("must hold 1 and -1"));
  BOOST_CHECK_EXCEPTION(cosine_embedding_loss(x, x, ones({4})), Error, says("target (4,)"));
  BOOST_CHECK_EXCEPTION(nll_loss(x, Tensor::of({0, 4, 1}, DType::i64)), Error, says("nll_loss"));
  BOOST_CHECK_EXCEPTION(nll_loss(x, x), Error, says("nll_loss: labels are f32"));
  BOOST_CHECK_EXCEPTION(nll_loss(x, Tensor::of({2, 2, 2}, DType::i64), {.ignore_index = 2}), Error,
                        says("every label is ignored"));
  for (const double w : {-1.0, -1e-30}) {
    const Tensor weight = Tensor::of({1.0, 1.0, w, 1.0}, DType::f32);
    BOOST_CHECK_EXCEPTION(cross_entropy(x, good, {.weight = weight}), Error,
                          says("negative weight"));
    BOOST_CHECK_EXCEPTION(cross_entropy(x, x, {.weight = weight}), Error, says("negative weight"));
    BOOST_CHECK_EXCEPTION(nll_loss(x, good, {.weight = weight}), Error, says("negative weight"));
  }
  BOOST_CHECK_EXCEPTION(cross_entropy(x, zeros({3, 4}, DType::f64)), Error, says("f32 and f64"));
  BOOST_CHECK_EXCEPTION(cross_entropy(x, x, {.ignore_index = 1}), Error, says("ignore_index is 1"));
  BOOST_CHECK_EXCEPTION(cross_entropy(zeros({0, 4}), zeros({0, 4})), Error, says("no rows"));
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
