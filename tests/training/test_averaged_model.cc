#define BOOST_TEST_MODULE averaged_model
#include <gradus/gradus.h>

#include "tests/checks.h"

using namespace gradus;
using test::check_close;
using test::says;
using test::wave;

namespace {

/// Parameters at update t.
void set_parameters(Module& model, int t) {
  for (Tensor& p : model.parameters())
    raw::copy(raw::cast(wave(p.shape(), 1, 0.3 + t), p.dtype()), p);
}

std::vector<double> values(const Tensor& x) { return x.to_vector<double>(); }

}  // namespace

// The recursion written out: decay^n w_0 + (1 - decay) sum decay^(n - t) w_t; and the mean.
BOOST_AUTO_TEST_CASE(averages_are_their_definitions) {
  for (DType dtype : {DType::f64, DType::f32})
    for (const std::optional<double> decay : {std::optional(0.75), std::optional<double>()}) {
      Sequential model(Linear(3, 4), Linear(4, 2));
      model.to(dtype);
      AveragedModel average(model, decay);
      const int n = 5;
      for (int t = 0; t <= n; ++t) {
        set_parameters(model, t);
        average.update_parameters(model);
      }
      BOOST_TEST(average.n_averaged == n + 1);
      for (const auto& [path, p] : average.module.named_parameters()) {
        Tensor expected = zeros(p.shape(), DType::f64);
        for (int t = 0; t <= n; ++t) {
          const double share =
              !decay ? 1. / (n + 1) : (t == 0 ? 1 : 1 - *decay) * std::pow(*decay, n - t);
          expected = expected + share * wave(p.shape(), 1, 0.3 + t);
        }
        check_close(path, p, values(expected), dtype == DType::f64 ? 1e-15 : 1e-6);
      }
    }
}

// Its BatchNorm's statistics are of other weights, until they are computed of its own.
BOOST_AUTO_TEST_CASE(statistics_are_the_average_s_own_once_they_are_computed) {
  Sequential model(Linear(4, 5), BatchNorm(5), Linear(5, 3), BatchNorm(3));
  model.initialize(3);
  model.to(DType::f64);
  AveragedModel average(model, 0.5);
  const Tensor x = wave({8, 4}, 2, 0.7);
  for (int t = 0; t < 4; ++t) {
    model(x);
    set_parameters(model, t);
    average.update_parameters(model);
  }
  const auto buffers = average.module.named_buffers();
  for (size_t i = 0; i < buffers.size(); ++i)
    BOOST_TEST(values(buffers[i].second) == values(model.named_buffers()[i].second));
  Sequential copy = average.module;
  const Tensor trained = copy(x);
  average.module.eval();
  population_statistics(average.module, [&] { average.module(x); });
  check_close("y", average.module(x), values(trained), 1e-13);
}

BOOST_AUTO_TEST_CASE(another_model_changes_nothing) {
  Sequential model(Linear(3, 4), BatchNorm(4)), wider(Linear(3, 4), BatchNorm(4), Linear(4, 1)),
      other(Linear(3, 4), BatchNorm(4));
  other.to(DType::f64);
  AveragedModel average(model, 0.5);
  average.update_parameters(model);
  const auto before = average.module.state();
  std::vector<std::vector<double>> bits;
  for (const auto& [path, tensor] : before) bits.push_back(values(tensor));
  BOOST_CHECK_EXCEPTION(average.update_parameters(wider), Error,
                        says("has 6 tensors, the average 4"));
  BOOST_CHECK_EXCEPTION(average.update_parameters(other), Error,
                        says("0.weight (4, 3) f64 of the model is 0.weight (4, 3) f32"));
  for (size_t i = 0; i < before.size(); ++i) BOOST_TEST(values(before[i].second) == bits[i]);
  BOOST_TEST(average.n_averaged == 1);
  BOOST_CHECK_EXCEPTION(AveragedModel(model, 1.5), Error, says("decay 1.5"));
}
