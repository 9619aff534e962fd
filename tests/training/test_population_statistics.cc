#define BOOST_TEST_MODULE population_statistics
#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/compare.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/layers/batch_norm.h>
#include <gradus/layers/dropout.h>
#include <gradus/layers/linear.h>
#include <gradus/layers/rnn.h>
#include <gradus/layers/sequential.h>
#include <gradus/training/population_statistics.h>

#include <stdexcept>

#include "tests/checks.h"

using namespace gradus;
using test::check_close;
using test::says;
using test::wave;

namespace {

BatchNorm& norm_of(Sequential& model, size_t i) { return dynamic_cast<BatchNorm&>(model[i]); }

std::vector<double> values(const Tensor& x) { return x.to_vector<double>(); }

std::vector<double> state_of(Module& model) {
  std::vector<double> all;
  for (const auto& [path, tensor] : model.state())
    for (double v : raw::cast(tensor, DType::f64).to_vector<double>()) all.push_back(v);
  return all;
}

}  // namespace

// The definition, in two passes: batches of unequal sizes count by their values.
BOOST_AUTO_TEST_CASE(they_are_those_of_all_values_together) {
  const Tensor x = wave({10, 3, 2}, 2, 0.7, 5);
  for (DType dtype : {DType::f64, DType::f32}) {
    BatchNorm norm(3);
    norm.to(dtype);
    norm.eval();
    population_statistics(norm, [&] {
      for (const auto& [from, to] : {std::pair{0, 4}, {4, 5}, {5, 10}})
        norm(raw::cast(slice(x, 0, from, to), dtype));
    });
    const double tolerance = dtype == DType::f64 ? 1e-14 : 1e-6;
    check_close("mean", norm.running_mean, values(mean(x, {0, 2})), tolerance);
    check_close("var", norm.running_var, values(var(x, {0, 2}, false, 0)), tolerance);
    BOOST_TEST(norm.num_batches_tracked.item() == 3);
    BOOST_TEST(!norm.training());
  }
}

// Batches' means rounded to f32 would differ by up to 1e-3, a tenth of the spread.
BOOST_AUTO_TEST_CASE(a_mean_far_from_0) {
  const Tensor x = raw::cast(wave({200, 3, 4}, 0.02, 1.7, 1e4), DType::f32),
               wide = raw::cast(x, DType::f64), valid = less(wave({200, 4}, 1, 0.6, 0), 0.5),
               all = ones({200, 4}, DType::boolean);
  for (const Tensor& mask : {all, valid}) {
    BatchNorm norm(3);
    population_statistics(norm, [&] {
      for (int64_t i = 0; i < 200; i += 2)
        norm.forward(slice(x, 0, i, i + 2), slice(mask, 0, i, i + 2));
    });
    const Tensor m = expand(unsqueeze(mask, 1), x.shape()), number = raw::cast(m, DType::f64),
                 count = sum(number, {0, 2}), mean = sum(wide * number, {0, 2}) / count,
                 d = (wide - reshape(mean, {1, 3, 1})) * number,
                 var = sum(square(d), {0, 2}) / count;
    check_close("mean", norm.running_mean, values(mean), 1e-7);
    check_close("var", raw::cast(norm.running_var, DType::f64) / var, {1, 1, 1}, 1e-6);
  }
}

BOOST_AUTO_TEST_CASE(evaluation_of_all_the_data_is_then_what_training_computes) {
  Sequential model(Linear(4, 5), BatchNorm(5), Linear(5, 3), BatchNorm(3));
  model.initialize(3);
  model.to(DType::f64);
  const Tensor x = wave({8, 4}, 2, 0.7);
  const Tensor trained = model(x);
  model.eval();
  population_statistics(model, [&] { model(x); });
  check_close("y", model(x), values(trained), 1e-13);
}

// The masked positions enter no statistics; steps that no sequence reaches keep theirs.
BOOST_AUTO_TEST_CASE(masks_and_norms_for_each_step) {
  const auto over_steps = [](int64_t n) { return BatchNorm(n, {.channels_last = true}); };
  Rnn model(2, 3, {.norm = over_steps, .norm_steps = 3});
  model.to(DType::f64);
  const Tensor x = wave({4, 3, 2}, 2, 0.7), lengths = Tensor::of({2, 1, 2, 1}, DType::i64);
  population_statistics(model, [&] { model(x, lengths); });
  const auto norm = [&](size_t t) -> BatchNorm& {
    return dynamic_cast<BatchNorm&>(*model.passes[0].norms[t]);
  };
  const Tensor projected = model.passes[0].cell.project(x);
  check_close("step 0", norm(0).running_mean, values(mean(select(projected, 1, 0), {0})), 1e-14);
  const Tensor second = select(projected, 1, 1);
  check_close("step 1", norm(1).running_mean,
              values((select(second, 0, 0) + select(second, 0, 2)) / 2), 1e-14);
  check_close("step 2", norm(2).running_mean, {0, 0, 0}, 0);
  check_close("step 2", norm(2).running_var, {1, 1, 1}, 0);
  BOOST_TEST(norm(2).num_batches_tracked.item() == 0);
}

BOOST_AUTO_TEST_CASE(modes_and_observers_stay_and_frozen_ones_keep_theirs) {
  Sequential model(Dropout(0.5), BatchNorm(3), BatchNorm(3),
                   BatchNorm(3, {.track_running_stats = false}));
  model.to(DType::f64);
  BatchNorm &first = norm_of(model, 1), &frozen = norm_of(model, 2);
  int heard = 0;
  first.observer = [&](const BatchStatistics&) { ++heard; };
  frozen.freeze_statistics();
  model.eval();
  first.train();
  const Tensor x = wave({6, 3}, 2, 0.7);
  population_statistics(model, [&] {
    BOOST_TEST(!model[0].training());
    model(x);
  });
  check_close("without dropout", first.running_mean, values(mean(x, {0})), 1e-14);
  check_close("frozen", frozen.running_mean, {0, 0, 0}, 0);
  BOOST_TEST(first.training());
  BOOST_TEST(!frozen.training());
  BOOST_TEST(heard == 1);
  model(x);
  BOOST_TEST(heard == 2);
}

BOOST_AUTO_TEST_CASE(nothing_is_recorded) {
  BatchNorm norm(3);
  const Tensor x = ones({4, 3}).set_requires_grad();
  const Tape tape;
  population_statistics(norm, [&] { norm(x); });
  BOOST_TEST(tape.size() == 0u);
}

BOOST_AUTO_TEST_CASE(an_error_leaves_the_model_as_it_was) {
  Sequential model(Linear(2, 3), BatchNorm(3)), copy = model;
  model.eval();
  const std::vector<double> before = state_of(model);
  const auto same = [&] {
    BOOST_TEST(state_of(model) == before);
    BOOST_TEST(!model[1].training());
    BOOST_TEST(!norm_of(model, 1).observer);
  };
  BOOST_CHECK_EXCEPTION(population_statistics(model,
                                              [&] {
                                                copy(ones({3, 2}));
                                              }),
                        Error, says("no batch reached any of the 1 BatchNorms of Sequential"));
  same();
  BOOST_CHECK_THROW(population_statistics(model,
                                          [&] {
                                            model(ones({3, 2}));
                                            throw std::runtime_error("no more data");
                                          }),
                    std::runtime_error);
  same();
}

namespace {

/// One BatchNorm under two names.
struct Twice : Module {
  void visit(Visitor& visitor) override {
    visitor.module("a", norm);
    visitor.module("b", norm);
  }
  std::string describe() const override { return "Twice"; }
  Tensor operator()(const Tensor& x) {
    const ForwardScope scope(*this);
    return norm(norm(x));
  }
  BatchNorm norm{2};
};

}  // namespace

BOOST_AUTO_TEST_CASE(a_norm_of_two_names_listens_once) {
  Twice model;
  model.to(DType::f64);
  int heard = 0;
  model.norm.observer = [&](const BatchStatistics&) { ++heard; };
  model.eval();
  const Tensor x = wave({6, 2}, 2, 0.7);
  population_statistics(model, [&] { model(x); });
  BOOST_TEST(!model.norm.training());
  BOOST_TEST(heard == 2);
  BOOST_TEST(model.norm.num_batches_tracked.item() == 2);
  model.train();
  model(x);
  BOOST_TEST(heard == 4);
}

// Copies are no part of the model, and tell its observers when all is over.
BOOST_AUTO_TEST_CASE(a_copy_made_meanwhile_outlives_the_listening) {
  BatchNorm model(2), copy(2);
  int heard = 0;
  model.observer = [&](const BatchStatistics&) { ++heard; };
  population_statistics(model, [&] {
    model(ones({6, 2}));
    copy = model;
  });
  std::vector<std::vector<char>> others(100, std::vector<char>(200, 0x5a));
  copy(ones({6, 2}));
  BOOST_TEST(heard == 2);
}

BOOST_AUTO_TEST_CASE(buffers_of_another_dtype_are_put_back) {
  BatchNorm model(2);
  BOOST_CHECK_THROW(population_statistics(model,
                                          [&] {
                                            model(ones({6, 2}));
                                            model.to(DType::f64);
                                            fail("no more data");
                                          }),
                    Error);
  BOOST_TEST((model.running_mean.dtype() == DType::f32));
  BOOST_TEST(values(model.running_var) == (std::vector<double>{1, 1}));
}

BOOST_AUTO_TEST_CASE(a_model_without_batch_norm_has_nothing_to_do) {
  Sequential model(Linear(2, 3));
  population_statistics(model, [&] { model(ones({1, 2})); });
}
