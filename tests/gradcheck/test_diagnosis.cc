#define BOOST_TEST_MODULE gradcheck_diagnosis
#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/compare.h>
#include <gradus/autograd/ops/conv.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/index.h>
#include <gradus/autograd/ops/linear.h>
#include <gradus/autograd/ops/matmul.h>
#include <gradus/autograd/ops/norm_stages.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/autograd/ops/where.h>
#include <gradus/gradcheck/gradcheck.h>
#include <gradus/tensor/random.h>

#include "tests/checks.h"
#include "tests/gradcheck/spoiled.h"

using namespace gradus;
using test::Spoil;
using test::Spoiled;

namespace {

using Tensors = std::vector<Tensor>;

Tensor normal(const Shape& shape, uint64_t seed, const char* what) {
  Generator generator(seed, what);
  return randn(shape, generator, DType::f64).set_requires_grad().set_name(what);
}

/// A wrong backward: of which input, and what it must be called.
struct Wrong {
  std::string what;
  std::function<Tensors(uint64_t seed)> inputs;
  Function f;
  Spoil spoil;
  int input;
  Pattern pattern;
  std::string says;  ///< in the diagnosis
};

double* values(Tensor& x) { return x.mutable_data<double>(); }

Spoil times(size_t i, double factor) {
  return [=](std::span<const Tensor>, const Tensor&, Tensors& dx) { dx[i] = dx[i] * factor; };
}

Tensors norm_inputs(const Shape& shape, int64_t weights, uint64_t seed) {
  return {normal(shape, seed, "x"), normal({weights}, seed, "weight"),
          normal({weights}, seed, "bias")};
}

constexpr double kEps = 1e-5;
const Function kLayerNorm = [](const Tensor& x, const Tensor& w, const Tensor& b) {
  return layer_norm(x, {x.size(-1)}, w, b, {.eps = kEps});
};
const Function kBatchNorm = [](const Tensor& x, const Tensor& w, const Tensor& b) {
  return batch_norm(x, w, b, {.eps = kEps}).y;
};

/// dx of a norm put together by `combine` from its stages.
Spoil norm_terms(bool batch, std::function<Tensor(const NormBackward&)> combine) {
  return [=](std::span<const Tensor> x, const Tensor& dy, Tensors& dx) {
    const NormGroups groups =
        batch ? batch_norm_groups(x[0]) : layer_norm_groups(x[0], {x[0].size(-1)});
    const NormForward forward = norm_forward(groups, x[0], x[1], x[2], kEps);
    dx[0] = reshape(combine(norm_backward(groups, forward, x[1], dy)), x[0].shape());
  };
}

/// All of a norm's gradients with statistics that are those of other values.
Spoil stale(bool batch) {
  return [=](std::span<const Tensor> x, const Tensor& dy, Tensors& dx) {
    const NormGroups groups =
        batch ? batch_norm_groups(x[0]) : layer_norm_groups(x[0], {x[0].size(-1)});
    const NormForward now = norm_forward(groups, x[0], x[1], x[2], kEps);
    const NormForward then = normalize_with(groups, x[0], now.mean * 0.9 + 0.1,
                                            now.variance * 0.9 + 0.1, x[1], x[2], kEps);
    const NormBackward b = norm_backward(groups, then, x[1], dy);
    dx = {b.dx, b.dweight, b.dbias};
  };
}

std::vector<Wrong> wrong_backwards() {
  const auto one = [](const Shape& shape) {
    return [=](uint64_t seed) { return Tensors{normal(shape, seed, "x")}; };
  };
  const auto layer = [](uint64_t seed) { return norm_inputs({6, 5}, 5, seed); };
  const auto batch = [](uint64_t seed) { return norm_inputs({6, 4}, 4, seed); };
  const auto images = [](uint64_t seed) { return norm_inputs({3, 4, 2, 5}, 4, seed); };
  const auto factors = [](uint64_t seed) {
    return Tensors{normal({4, 3}, seed, "a"), normal({3, 5}, seed, "b")};
  };
  const Function product = [](const Tensor& a, const Tensor& b) { return matmul(a, b); };
  const Tensor index = raw::cast(Tensor::of({{2, 0, 2, 1, 2}}), DType::i64);
  return {
      {"twice", one({3, 4}), gradus::tanh, times(0, 2), 0, Pattern::factor, "factor of 2"},
      {"sign", one({3, 4}), gradus::exp, times(0, -1), 0, Pattern::factor, "-1: the sign"},
      {"half", one({7}), gradus::square, times(0, 0.5), 0, Pattern::factor, "1/2"},
      {"N/(N-1)", one({5, 7}), [](const Tensor& x) { return var(x, {1}); }, times(0, 7.0 / 6), 0,
       Pattern::factor, "N/(N-1), N = 7"},
      {"mean over N", one({5, 7}), [](const Tensor& x) { return sum(square(x), {0}); },
       times(0, 1.0 / 5), 0, Pattern::factor, "1/N, N = 5"},
      {"an odd factor", one({5, 7}), gradus::tanh, times(0, 1.0371), 0, Pattern::factor, "1.0371"},
      {"no gradient", factors, product, [](auto, auto, Tensors& dx) { dx[1] = dx[1] * 0; }, 1,
       Pattern::no_gradient, "without any"},
      {"detached", factors, product, [](auto, auto, Tensors& dx) { dx[1] = {}; }, 1,
       Pattern::no_gradient, "without any"},
      {"gradient not transposed", factors, product,
       [](auto, auto, Tensors& dx) {
         dx[1] = reshape(contiguous(transpose(dx[1])), {3, 5});
       },
       1, Pattern::transposition, "axes 0 and 1 exchanged"},
      {"a factor not transposed",
       [](uint64_t seed) {
         return Tensors{normal({4, 3}, seed, "a"), normal({3, 3}, seed, "b")};
       },
       product,
       [](std::span<const Tensor> x, const Tensor& dy, Tensors& dx) { dx[0] = matmul(dy, x[1]); },
       0, Pattern::transposition, "not transposed"},
      {"swapped",
       [](uint64_t seed) {
         return Tensors{normal({4, 3}, seed, "a"), normal({4, 3}, seed, "b")};
       },
       [](const Tensor& a, const Tensor& b) { return a * b; },
       [](auto, auto, Tensors& dx) { std::swap(dx[0], dx[1]); }, 0, Pattern::swapped_inputs,
       "of b"},
      {"relu's mask", one({4, 6}), relu, [](auto, const Tensor& dy, Tensors& dx) { dx[0] = dy; }, 0,
       Pattern::mask_not_applied, "mask"},
      {"padding's mask", layer,
       [](const Tensor& x, const Tensor&, const Tensor&) {
         return where(greater(test::wave({6, 1}, 1, 2), 0), square(x), zeros({}, DType::f64));
       },
       [](std::span<const Tensor> x, const Tensor& dy, Tensors& dx) { dx[0] = 2.0 * x[0] * dy; }, 0,
       Pattern::mask_not_applied, "mask"},
      {"bias of the first row alone",
       [](uint64_t seed) {
         return Tensors{normal({4, 5}, seed, "x"), normal({5}, seed, "bias")};
       },
       [](const Tensor& x, const Tensor& b) { return x + b; },
       [](auto, const Tensor& dy, Tensors& dx) { dx[1] = select(dy, 0, 0); }, 1,
       Pattern::broadcast_unreduced, "not reduced"},
      {"mean for sum over a broadcast",
       [](uint64_t seed) {
         return Tensors{normal({4, 5}, seed, "x"), normal({5}, seed, "bias")};
       },
       [](const Tensor& x, const Tensor& b) { return x * b; }, times(1, 0.25), 1, Pattern::factor,
       "1/N, N = 4"},
      {"gather's backward sets", one({1, 4}), [=](const Tensor& x) { return gather(x, 1, index); },
       [=](std::span<const Tensor>, const Tensor& dy, Tensors& dx) {
         for (int64_t i = 0; i < 5; ++i)
           values(dx[0])[index.data<int64_t>()[i]] = dy.data<double>()[i];
       },
       0, Pattern::overwritten, "only the last"},
      {"windows' backward sets", one({1, 1, 1, 7}),
       [](const Tensor& x) {
         return conv2d(x, test::wave({1, 1, 1, 3}, 1, 1.3, 0.2));
       },
       [](std::span<const Tensor>, const Tensor& dy, Tensors& dx) {
         const Tensor w = test::wave({1, 1, 1, 3}, 1, 1.3, 0.2);
         for (int64_t o = 0; o < 5; ++o)
           for (int64_t k = 0; k < 3; ++k)
             values(dx[0])[o + k] = dy.data<double>()[o] * w.data<double>()[k];
       },
       0, Pattern::overwritten, "only the last"},
      {"padding off by one", one({1, 1, 1, 9}),
       [](const Tensor& x) {
         return conv2d(x, test::wave({1, 1, 1, 3}, 1, 1.3, 0.2));
       },
       [](std::span<const Tensor>, const Tensor& dy, Tensors& dx) {
         const Tensor w = test::wave({1, 1, 1, 3}, 1, 1.3, 0.2);
         for (int64_t i = 0; i < 9; ++i) values(dx[0])[i] = 0;
         for (int64_t o = 0; o < 7; ++o)
           for (int64_t k = 0; k < 3; ++k)
             if (o + k + 1 < 9)
               values(dx[0])[o + k + 1] += dy.data<double>()[o] * w.data<double>()[k];
       },
       0, Pattern::shift, "along axis 3"},
      {"last row left out", one({5, 3}), gradus::sin,
       [](auto, auto, Tensors& dx) {
         for (int64_t k = 12; k < 15; ++k) values(dx[0])[k] = 0;
       },
       0, Pattern::entries_missing, "entries [4, :]"},
      {"layer_norm: mean term", layer, kLayerNorm,
       norm_terms(false, [](const NormBackward& b) { return b.direct - b.variance_term; }), 0,
       Pattern::mean_term, "along axes (1,)"},
      {"layer_norm: variance term", layer, kLayerNorm,
       norm_terms(false, [](const NormBackward& b) { return b.direct - b.mean_term; }), 0,
       Pattern::variance_term, "along axes (1,)"},
      {"layer_norm: detached", layer, kLayerNorm,
       norm_terms(false, [](const NormBackward& b) { return b.direct; }), 0,
       Pattern::constant_statistics, "along axes (1,)"},
      {"layer_norm: N-1 in the mean", layer, kLayerNorm,
       norm_terms(
           false,
           [](const NormBackward& b) { return b.direct - 1.25 * b.mean_term - b.variance_term; }),
       0, Pattern::mean_term, "along axes (1,)"},
      {"batch_norm: mean term", batch, kBatchNorm,
       norm_terms(true, [](const NormBackward& b) { return b.direct - b.variance_term; }), 0,
       Pattern::mean_term, "along axes (0,)"},
      {"batch_norm: variance term, images", images, kBatchNorm,
       norm_terms(true, [](const NormBackward& b) { return b.direct - b.mean_term; }), 0,
       Pattern::variance_term, "along axes (0, 2, 3)"},
      {"batch_norm: N-1 in the variance term", batch, kBatchNorm,
       norm_terms(
           true,
           [](const NormBackward& b) { return b.direct - b.mean_term - 1.2 * b.variance_term; }),
       0, Pattern::variance_term, "along axes (0,)"},
      {"batch_norm: detached, images", images, kBatchNorm,
       norm_terms(true, [](const NormBackward& b) { return b.direct; }), 0,
       Pattern::constant_statistics, "along axes (0, 2, 3)"},
      {"batch_norm: stale dx", batch, kBatchNorm, stale(true), 0, Pattern::stale_statistics, ""},
      {"batch_norm: stale dweight", batch, kBatchNorm, stale(true), 1, Pattern::stale_statistics,
       ""},
      {"layer_norm: eps outside the root", layer, kLayerNorm,
       [](std::span<const Tensor> x, const Tensor&, Tensors& dx) {
         const NormForward f = norm_forward(layer_norm_groups(x[0], {5}), x[0], x[1], x[2], kEps);
         dx[0] = dx[0] / (f.rstd * (gradus::sqrt(f.variance) + kEps));
       },
       0, Pattern::factor_per_group, "along axes (1,)"},
      {"layer_norm: mean over the wrong axis", layer, kLayerNorm,
       norm_terms(false,
                  [](const NormBackward& b) {
                    return b.direct - mean(b.direct, {0}, true) - b.variance_term;
                  }),
       0, Pattern::wrong_axis, "axis 0"},
      {"one entry, by 1e-6", layer, kLayerNorm,
       [](auto, auto, Tensors& dx) { values(dx[1])[3] *= 1 + 1e-6; }, 1, Pattern::factor,
       "1.000001 in the entries that disagree"},
      {"linear: bias counted twice",
       [](uint64_t seed) {
         return Tensors{normal({4, 5}, seed, "x"), normal({3, 5}, seed, "weight"),
                        normal({3}, seed, "bias")};
       },
       [](const Tensor& x, const Tensor& w, const Tensor& b) { return linear(x, w, b); },
       times(2, 2), 2, Pattern::factor, "factor of 2"},
  };
}

GradcheckReport check(const Wrong& wrong, uint64_t seed, GradcheckMode mode) {
  const Spoiled spoiled(wrong.f, wrong.spoil);
  return gradcheck([&](std::span<const Tensor> x) { return spoiled(x); }, wrong.inputs(seed),
                   {.seed = seed, .mode = mode});
}

}  // namespace

BOOST_AUTO_TEST_CASE(wrong_backwards_are_found_and_named, *test::repeats) {
  for (const Wrong& wrong : wrong_backwards())
    for (GradcheckMode mode : {GradcheckMode::full, GradcheckMode::projected})
      for (uint64_t seed = 1; seed <= 10; ++seed) {
        const GradcheckReport report = check(wrong, seed, mode);
        const GradcheckInput& input = report.inputs[static_cast<size_t>(wrong.input)];
        const Diagnosis& found = input.diagnosis;
        const bool named =
            found.pattern == wrong.pattern && found.text.find(wrong.says) != std::string::npos;
        BOOST_TEST((!report.ok() && input.counts.disagree > 0 && named), wrong.what << ", seed "
                                                                                    << seed << "\n"
                                                                                    << report);
      }
}

// Every input whose gradient is right is left in peace.
BOOST_AUTO_TEST_CASE(right_inputs_beside_wrong_ones_agree) {
  for (const Wrong& wrong : wrong_backwards()) {
    if (wrong.what.find("stale") != std::string::npos || wrong.what == "swapped") continue;
    for (GradcheckMode mode : {GradcheckMode::full, GradcheckMode::projected})
      for (const GradcheckInput& input : check(wrong, 1, mode).inputs)
        BOOST_TEST((input.input == wrong.input || input.counts.agree == input.counts.total()),
                   wrong.what << ": " << input.name);
  }
}

BOOST_AUTO_TEST_CASE(what_fits_no_pattern_is_not_named) {
  const Wrong wrong{"tanh' as 1 - |y|",
                    [](uint64_t seed) {
                      return Tensors{normal({4, 5}, seed, "x")};
                    },
                    gradus::tanh,
                    [](std::span<const Tensor> x, const Tensor& dy, Tensors& dx) {
                      dx[0] = dy * (1.0 - gradus::abs(gradus::tanh(x[0])));
                    },
                    0,
                    Pattern::none,
                    ""};
  for (GradcheckMode mode : {GradcheckMode::full, GradcheckMode::projected}) {
    const GradcheckReport report = check(wrong, 1, mode);
    BOOST_TEST(!report.ok());
    BOOST_TEST(report.inputs[0].diagnosis.text.empty(), report);
    BOOST_TEST(report.text().find("looks like") == std::string::npos);
  }
}

BOOST_AUTO_TEST_CASE(entries_are_described) {
  const std::vector<int64_t> one{3}, some{0, 2, 3}, column{1, 5, 9}, rest{0, 1, 7};
  BOOST_TEST(describe_entries({5}, one) == "entries [3]");
  BOOST_TEST(describe_entries({5}, some) == "entries [0, 2, 3]");
  BOOST_TEST(describe_entries({3, 4}, column) == "entries [:, 1]");
  BOOST_TEST(describe_entries({3, 4}, rest) == "entries [(0, 0), (0, 1), (1, 3)]");
  const std::vector<int64_t> all{0, 1, 2}, block{5, 6, 9, 10};
  BOOST_TEST(describe_entries({3}, all) == "all entries");
  BOOST_TEST(describe_entries({3, 4}, block) == "entries [1:3, 1:3]");
}

namespace {

/// sum(tanh(x W)^2), and its gradient by W spoiled: W has more entries than are looked at singly.
GradcheckReport check_large(const Spoil& spoil) {
  const Tensor x = normal({3, 300}, 1, "x"), w = normal({300, 200}, 2, "w");
  const Spoiled f([](const Tensor& a,
                     const Tensor& b) { return sum(square(gradus::tanh(matmul(a, b) * 0.05))); },
                  spoil);
  return gradcheck([&](std::span<const Tensor> in) { return f(in); }, {x, w},
                   {.mode = GradcheckMode::projected});
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_wrong_entry_of_many_is_found_by_bisection, *test::repeats) {
  BOOST_TEST(check_large([](auto, auto, Tensors&) {}));
  const GradcheckReport report = check_large([](auto, auto, Tensors& dx) {
    values(dx[1])[17 * 200 + 42] *= 1.01;
    values(dx[1])[250 * 200 + 7] = 0;
  });
  BOOST_TEST(report.inputs[0].counts.disagree == 0);
  BOOST_TEST(report.inputs[1].where == "entries [(17, 42), (250, 7)]; 2 of 60000", report);
}

BOOST_AUTO_TEST_CASE(many_wrong_entries_of_many_are_sampled) {
  const GradcheckReport report = check_large([](auto, auto, Tensors& dx) { dx[1] = dx[1] * 2.0; });
  BOOST_TEST(report.inputs[1].where == "64 of 64 entries looked at, of 60000", report);
  BOOST_TEST((report.inputs[1].diagnosis.pattern == Pattern::factor));
}
