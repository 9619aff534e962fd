#define BOOST_TEST_MODULE batch_norm
#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/compare.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/layers/batch_norm.h>
#include <gradus/layers/linear.h>
#include <gradus/layers/sequential.h>

#include "tests/checks.h"

using namespace gradus;
using test::check_close;
using test::says;
using test::wave;

// The layer's state and modes. Values and gradients: tests/autograd/test_norm.cc.
namespace {

BatchNorm make(int64_t channels, BatchNormLayerOptions options = {}) {
  BatchNorm norm(channels, options);
  norm.to(DType::f64);
  return norm;
}

std::string statistics(BatchNorm& norm) {
  return fmt::format("{:.17} {:.17} {}", norm.running_mean, norm.running_var,
                     norm.num_batches_tracked);
}

/// Channels with values 1 3, 2 6, 3 9: means 2, 4, 6, unbiased variances 2, 8, 18.
Tensor pair() { return Tensor::of({{1, 2, 3}, {3, 6, 9}}, DType::f64); }

}  // namespace

BOOST_AUTO_TEST_CASE(momentum_weighs_the_new_value_and_the_variance_is_unbiased) {
  BatchNorm norm = make(3, {.momentum = 0.25});
  norm(pair());
  check_close("mean", norm.running_mean, {0.5, 1, 1.5}, 1e-15);
  check_close("variance", norm.running_var, {1.25, 2.75, 5.25}, 1e-15);
  norm(pair());
  check_close("mean", norm.running_mean, {0.875, 1.75, 2.625}, 1e-15);
  BOOST_TEST(norm.num_batches_tracked.item() == 2);
}

BOOST_AUTO_TEST_CASE(with_relu_it_is_the_relu_of_the_norm_in_every_mode) {
  BatchNorm norm = make(3), with_relu = make(3, {.activation = Activation::relu});
  const Tensor x = wave({4, 3, 5}, 2, 1.7);
  const auto both = [&](const char* mode) {
    check_close(mode, with_relu(x), relu(norm(x)).to_vector<double>(), 0);
    BOOST_TEST(statistics(with_relu) == statistics(norm), mode);
  };
  both("training");
  for (BatchNorm* each : {&norm, &with_relu}) each->freeze_statistics();
  both("frozen");
  for (BatchNorm* each : {&norm, &with_relu}) each->freeze_statistics(false), each->eval();
  both("evaluation");
}

BOOST_AUTO_TEST_CASE(without_momentum_it_is_the_average_of_all_batches) {
  BatchNorm norm = make(3, {.momentum = std::nullopt});
  norm(pair());
  norm(pair() * 2);
  norm(pair() * 6);
  check_close("mean", norm.running_mean, {6, 12, 18}, 1e-14);
  const double squares = (1.0 + 4 + 36) / 3;
  check_close("variance", norm.running_var, {2 * squares, 8 * squares, 18 * squares}, 1e-14);
}

BOOST_AUTO_TEST_CASE(reset_forgets_every_batch) {
  BatchNorm norm = make(3, {.momentum = std::nullopt});
  const std::string before = statistics(norm);
  norm(pair());
  norm.reset_running_stats();
  BOOST_TEST(statistics(norm) == before);
  norm(pair());
  check_close("mean", norm.running_mean, {2, 4, 6}, 1e-15);
}

BOOST_AUTO_TEST_CASE(frozen_is_evaluation_and_outlives_train) {
  Sequential model(make(3));
  auto& norm = dynamic_cast<BatchNorm&>(model[0]);
  model(pair());
  const std::string before = statistics(norm);
  model.eval();
  const auto evaluated = model(pair()).to_vector<double>();
  norm.freeze_statistics();
  model.train();
  BOOST_TEST(norm.training());
  BOOST_TEST(norm.frozen());
  BOOST_TEST(model(pair()).to_vector<double>() == evaluated);
  BOOST_TEST(statistics(norm) == before);
  BOOST_TEST(norm(pair() + 5).size(0) == 2);
  BOOST_TEST(norm(slice(pair(), 0, 0, 1)).size(0) == 1);  // one value a channel will do
  norm.freeze_statistics(false);
  BOOST_TEST(model(pair()).to_vector<double>() != evaluated);
  BOOST_TEST(statistics(norm) != before);
}

// Weight and bias go on learning; the statistics are constants to the gradient.
BOOST_AUTO_TEST_CASE(frozen_passes_gradients) {
  BatchNorm norm = make(3);
  norm.freeze_statistics();
  const Tensor x = wave({4, 3}, 2, 0.7).set_requires_grad();
  Tape tape;
  tape.backward(sum(norm(x)));
  const double r = 1 / std::sqrt(1 + 1e-5);
  check_close("dx", x.grad(), std::vector<double>(12, r), 1e-14);
  check_close("dbias", norm.bias.grad(), {4, 4, 4}, 1e-14);
  check_close("dweight", norm.weight.grad(), (sum(x, {0}) * r).to_vector<double>(), 1e-14);
}

BOOST_AUTO_TEST_CASE(freezing_needs_running_statistics) {
  BatchNorm norm(3, {.track_running_stats = false});
  BOOST_CHECK_EXCEPTION(norm.freeze_statistics(), Error,
                        says("BatchNorm: there are no running statistics"));
  BOOST_TEST(!norm.frozen());
  norm.freeze_statistics(false);
}

BOOST_AUTO_TEST_CASE(without_running_statistics_evaluation_uses_the_batch_s) {
  BatchNorm norm = make(3, {.track_running_stats = false});
  BOOST_TEST(norm.state().size() == 2u);
  const auto training = norm(pair()).to_vector<double>();
  norm.eval();
  BOOST_TEST(norm(pair()).to_vector<double>() == training);
}

BOOST_AUTO_TEST_CASE(evaluation_changes_nothing) {
  BatchNorm norm = make(3);
  norm(pair());
  const std::string before = statistics(norm);
  norm.eval();
  norm(pair() * 3);
  BOOST_TEST(statistics(norm) == before);
}

// An error in training leaves the running statistics as they were.
BOOST_AUTO_TEST_CASE(wrong_inputs_change_no_statistics) {
  BatchNorm norm = make(3), plain = make(3, {.affine = false}),
            last = make(3, {.channels_last = true}),
            batch_only = make(3, {.track_running_stats = false});
  const auto nobody = [](const Shape& shape) { return zeros(shape, DType::boolean); };
  const Tensor one_of_four = less(arange(4), 1);
  const std::tuple<const char*, BatchNorm*, Tensor, Tensor, const char*> cases[] = {
      {"one value a channel", &norm, ones({1, 3}, DType::f64), {}, "(1, 3) has 1 value a channel"},
      {"one pixel",
       &norm,
       ones({1, 3, 1, 1}, DType::f64),
       {},
       "(1, 3, 1, 1) has 1 value a channel"},
      {"one step", &last, ones({1, 1, 3}, DType::f64), {}, "(1, 1, 3) has 1 value a channel"},
      {"a mask that leaves the only one", &norm, ones({1, 3}, DType::f64), less(arange(1), 1),
       "1 value a channel"},
      {"a mask that leaves one, without running statistics", &batch_only, ones({4, 3}, DType::f64),
       one_of_four, "1 value a channel"},
      {"no images", &norm, ones({0, 3}, DType::f64), {}, "(0, 3)"},
      {"a mask of another shape", &norm, ones({4, 3}, DType::f64), nobody({3}),
       "must be bool (4,)"},
      {"other channels",
       &norm,
       ones({4, 5}, DType::f64),
       {},
       "(4, 5) does not have 3 channels in axis 1"},
      {"channels elsewhere",
       &last,
       ones({4, 3, 5}, DType::f64),
       {},
       "in its last axis, as (N, T, C)"},
      {"no channels", &norm, ones({3}, DType::f64), {}, "(3,) does not have 3 channels"},
      {"another dtype", &norm, ones({4, 3}), {}, "dtypes f32 and f64 do not mix"},
      {"another dtype, not affine", &plain, ones({4, 3}), {}, "dtypes f32 and f64 do not mix"}};
  for (const auto& [what, layer, x, valid, message] : cases) {
    BOOST_TEST_CONTEXT(what) {
      const auto statistics_of = [](BatchNorm& one) {
        return one.running_mean ? statistics(one) : std::string();
      };
      const std::string before = statistics_of(*layer);
      BOOST_CHECK_EXCEPTION((*layer)(x, valid), Error, says(message));
      BOOST_TEST(statistics_of(*layer) == before);
    }
  }
}

// As in the last steps of sequences of several lengths.
BOOST_AUTO_TEST_CASE(a_mask_that_leaves_too_few_is_no_batch) {
  BatchNorm norm = make(3);
  norm(pair());
  raw::copy(wave({3}, 1, 0.9, 2), norm.weight);
  raw::copy(wave({3}, 1, 0.4, 1), norm.bias);
  const std::string before = statistics(norm);
  const Tensor x = wave({4, 3}, 2, 0.7).set_requires_grad(), one = equal(arange(4), 2),
               nobody = less(arange(4), 0);
  const auto results = [&](bool training, const Tensor& valid) {
    norm.train(training);
    Tape tape;
    const Tensor y = norm(x, valid);
    std::vector<Tensor> all =
        tape.gradient(sum(square(y) * wave({4, 3}, 1, 1.3)), {x, norm.weight, norm.bias});
    all.push_back(y);
    return all;
  };
  const std::vector<Tensor> training = results(true, one), evaluation = results(false, one);
  for (size_t i = 0; i < training.size(); ++i)
    check_close("one", training[i], evaluation[i].to_vector<double>(), 0);
  for (int64_t c = 0; c < 3; ++c)
    BOOST_TEST(std::abs(training[3].at({2, c}) -
                        ((x.at({2, c}) - norm.running_mean.at({c})) /
                             std::sqrt(norm.running_var.at({c}) + 1e-5) * norm.weight.at({c}) +
                         norm.bias.at({c}))) < 1e-13);
  BatchNorm batch_only = make(3, {.track_running_stats = false});
  for (const Tensor& y : results(true, nobody)) BOOST_TEST(all(equal(y, 0)));
  BOOST_TEST(all(equal(batch_only(x, nobody), 0)));
  BOOST_TEST(statistics(norm) == before);
  norm.train();
  norm(x, less(arange(4), 2));
  BOOST_TEST(statistics(norm) != before);
}

namespace {

/// As users write one: without a ForwardScope of its own.
struct Refusing : UnaryModule {
  explicit Refusing(bool by_error) : refuses_by_error(by_error), norm(make(3)) {}
  Tensor forward(const Tensor& x) override {
    const Tensor h = norm(norm(x));
    if (refuses_by_error) return linear(h);
    throw std::bad_alloc();
  }
  void visit(Visitor& visitor) override {
    visitor.module("norm", norm);
    visitor.module("linear", linear);
  }
  std::string describe() const override { return "Refusing"; }
  bool refuses_by_error;
  BatchNorm norm;
  Linear linear{4, 2};
};

/// x + f(x), or x where f refuses it.
struct Attempt : UnaryModule {
  Attempt() : norm(make(3)), f(true) {}
  Tensor forward(const Tensor& x) override {
    const Tensor h = norm(x);
    try {
      return h + f(h);
    } catch (const Error&) {
      return h;
    }
  }
  void visit(Visitor& visitor) override {
    visitor.module("norm", norm);
    visitor.module("f", f);
  }
  std::string describe() const override { return "Attempt"; }
  BatchNorm norm;
  Refusing f;
};

std::string buffers_of(Module& module) {
  std::string text;
  for (const auto& [path, buffer] : module.named_buffers())
    text += fmt::format("{} {:.17}\n", path, buffer);
  return text;
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_refused_forward_changes_no_statistics_of_the_whole_model) {
  const Tensor x = wave({4, 3}, 2, 0.7);
  for (bool by_error : {true, false}) {
    Sequential model(make(3), Residual(make(3)), Refusing(by_error));
    model.to(DType::f64);
    Refusing alone(by_error);
    alone.to(DType::f64);
    const std::string before = buffers_of(model), before_alone = buffers_of(alone);
    BOOST_CHECK_THROW(model(x), std::exception);
    BOOST_CHECK_THROW(model.forward(x), std::exception);
    BOOST_CHECK_THROW(alone(x), std::exception);
    BOOST_TEST(buffers_of(model) == before);
    BOOST_TEST(buffers_of(alone) == before_alone);
    model.eval();
    BOOST_CHECK_THROW(model(x), std::exception);
    // What was not refused counts, and goes on from where it was.
    BatchNorm& first = dynamic_cast<BatchNorm&>(model[0]);
    BatchNorm same = first;
    model.train();
    same.train();
    first(x);
    same(x);
    BOOST_TEST(statistics(first) == statistics(same));
    BOOST_TEST(first.num_batches_tracked.item() == 1);
  }
  // A part that is refused and replaced: the rest was not refused.
  Attempt model;
  model.to(DType::f64);
  const std::string f_before = buffers_of(model.f);
  model(x);
  BOOST_TEST(buffers_of(model.f) == f_before);
  BOOST_TEST(model.norm.num_batches_tracked.item() == 1);
}

// The definition: each group by a layer of its own, and the running statistics their mean.
BOOST_AUTO_TEST_CASE(ghost_groups_are_batches_of_their_own) {
  for (const auto& [n, size, cuts] :
       std::initializer_list<std::tuple<int64_t, int64_t, std::vector<int64_t>>>{
           {6, 2, {0, 2, 4, 6}},
           {7, 2, {0, 2, 4, 7}},
           {5, 4, {0, 5}},
           {2, 4, {0, 2}},
           {4, 1, {0, 1, 2, 3, 4}}}) {
    BatchNorm ghost = make(3, {.momentum = 0.25, .ghost_size = size});
    raw::copy(wave({3}, 1, 0.9, 2), ghost.weight);
    const Tensor x = wave({n, 3, 2, 2}, 2, 0.7);
    std::vector<BatchStatistics> heard;
    ghost.observer = [&](const BatchStatistics& group) { heard.push_back(group); };
    const Tensor y = ghost(x);
    BOOST_TEST_REQUIRE(heard.size() == cuts.size() - 1);
    Tensor means = zeros({3}, DType::f64), vars = means;
    for (size_t i = 0; i + 1 < cuts.size(); ++i) {
      BatchNorm own = make(3, {.momentum = 1});
      own.weight = ghost.weight;
      const Tensor part = slice(x, 0, cuts[i], cuts[i + 1]);
      check_close("y", slice(y, 0, cuts[i], cuts[i + 1]), own(part).to_vector<double>(), 1e-14);
      check_close("told", heard[i].mean, own.running_mean.to_vector<double>(), 1e-14);
      BOOST_TEST(heard[i].count == part.numel() / 3);
      means = means + own.running_mean;
      vars = vars + own.running_var;
    }
    const auto groups = static_cast<double>(heard.size());
    check_close("mean", ghost.running_mean, (means * (0.25 / groups)).to_vector<double>(), 1e-14);
    check_close("var", ghost.running_var, (vars * (0.25 / groups) + 0.75).to_vector<double>(),
                1e-14);
    BOOST_TEST(ghost.num_batches_tracked.item() == 1);
  }
}

// The groups' averages in f32, where their sums leave f32 or lose its digits: against those of f64.
BOOST_AUTO_TEST_CASE(ghost_groups_keep_large_and_far_means) {
  Generator generator(1);
  const Tensor spread = uniform({4000, 1}, 0, 4, generator);
  const Tensor huge = Tensor::from(std::vector<float>{2e38F, 2.1e38F, 2e38F, 2.2e38F}, {4, 1}),
               wide = Tensor::from(std::vector<float>{0, 2.6e19F, 0, 2.6e19F}, {4, 1});
  for (const Tensor& x : {spread + 8e6, spread * 0.0025 + 8e6, 1.1 + spread * 1e-3, huge, wide})
    for (const std::optional<double>& momentum :
         {std::optional<double>(1), std::optional<double>()}) {
      BatchNorm narrow(1, {.momentum = momentum, .ghost_size = 2}), exact = narrow;
      exact.to(DType::f64);
      narrow(x);
      exact(raw::cast(x, DType::f64));
      const double mean = exact.running_mean.at({0}), var = exact.running_var.at({0});
      BOOST_TEST(std::abs(narrow.running_mean.at({0}) - mean) <= 0x1p-22 * std::abs(mean));
      if (var < std::numeric_limits<float>::max())
        BOOST_TEST(std::abs(narrow.running_var.at({0}) - var) <= 0x1p-18 * var);
    }
}

// An unbiased variance beyond f32 may enter an average that is not.
BOOST_AUTO_TEST_CASE(a_variance_beyond_f32_is_averaged) {
  BatchNorm model(1, {.momentum = 0.1});
  model(Tensor::from(std::vector<float>{0, 3e19F}, {2, 1}));
  BOOST_TEST(std::abs(model.running_var.at({0}) - 4.5e37) < 1e32);
}

// A group that a mask leaves one value of several is transformed as in evaluation.
BOOST_AUTO_TEST_CASE(ghost_groups_with_masks) {
  BatchNorm ghost = make(3, {.channels_last = true, .ghost_size = 2});
  BatchNorm evaluated = ghost, own = make(3, {.channels_last = true});
  evaluated.eval();
  const Tensor x = wave({6, 2, 3}, 2, 0.7);
  const Tensor valid = less(Tensor::of({{0, 0}, {1, 0}, {1, 1}, {0, 1}, {1, 1}, {1, 1}}), 1);
  const auto part = [](const Tensor& v, int64_t i) { return slice(v, 0, 2 * i, 2 * i + 2); };
  const Tensor y = ghost(x, valid);
  check_close("enough", part(y, 0), own(part(x, 0), part(valid, 0)).to_vector<double>(), 1e-14);
  check_close("one", part(y, 1), evaluated(part(x, 1), part(valid, 1)).to_vector<double>(), 1e-14);
  check_close("none", part(y, 2), std::vector<double>(12, 0), 0);
  BOOST_TEST(statistics(ghost) == statistics(own));
}

BOOST_AUTO_TEST_CASE(ghost_groups_of_one_value_are_refused) {
  BatchNorm ghost = make(3, {.ghost_size = 1});
  const std::string before = statistics(ghost);
  BOOST_CHECK_EXCEPTION(ghost(ones({5, 3}, DType::f64)), Error,
                        says("groups of 1 of x (5, 3) have 1 value a channel"));
  BOOST_CHECK_EXCEPTION(ghost(ones({1, 3}, DType::f64)), Error, says("1 value a channel"));
  BOOST_CHECK_EXCEPTION(ghost(ones({4, 3, 2}, DType::f64), less(ones({3, 2}), 2)), Error,
                        says("the mask is (3, 2), not one for the 4 samples"));
  BOOST_CHECK_EXCEPTION(BatchNorm(3, {.ghost_size = -1}), Error, says("groups of -1 samples"));
  BOOST_TEST(statistics(ghost) == before);
  ghost.eval();
  BOOST_TEST(ghost(ones({5, 3}, DType::f64)).size(0) == 5);
}

BOOST_AUTO_TEST_CASE(an_observer_is_told_of_training_alone) {
  BatchNorm norm = make(3);
  std::vector<BatchStatistics> heard;
  norm.observer = [&](const BatchStatistics& batch) { heard.push_back(batch); };
  norm(pair());
  norm.freeze_statistics();
  norm(pair());
  norm.freeze_statistics(false);
  norm.eval();
  norm(pair());
  norm.train();
  norm(pair(), less(arange(2), 1));  // one of several
  BOOST_TEST_REQUIRE(heard.size() == 1u);
  check_close("mean", heard[0].mean, {2, 4, 6}, 1e-15);
  check_close("biased variance", heard[0].var, {1, 4, 9}, 1e-15);
  BOOST_TEST(heard[0].count == 2);
}

// A group behind others, the model's next layer, or the observer itself refuse.
BOOST_AUTO_TEST_CASE(an_observer_is_told_of_forwards_that_hold) {
  BatchNorm norm = make(3, {.track_running_stats = false, .ghost_size = 2});
  int heard = 0;
  norm.observer = [&](const BatchStatistics&) { ++heard; };
  const Tensor valid = less(Tensor::of({0, 0, 0, 1}), 1);
  BOOST_CHECK_EXCEPTION(norm(wave({4, 3}, 1, 0.7), valid), Error, says("1 value a channel"));
  BOOST_TEST(heard == 0);
  norm(wave({4, 3}, 1, 0.7));
  BOOST_TEST(heard == 2);
  BatchNorm tracking = make(3);
  const std::string before = statistics(tracking);
  tracking.observer = [](const BatchStatistics&) { fail("refused"); };
  BOOST_CHECK_EXCEPTION(tracking(pair()), Error, says("refused"));
  BOOST_TEST(statistics(tracking) == before);
}

// Where no running statistics can serve instead; none is transformed whatever the statistics.
BOOST_AUTO_TEST_CASE(a_mask_that_leaves_one_value_needs_running_statistics) {
  BatchNorm norm = make(3, {.track_running_stats = false});
  for (const bool training : {true, false}) {
    norm.train(training);
    BOOST_CHECK_EXCEPTION(norm(pair(), less(arange(2), 1)), Error, says("1 value a channel"));
    check_close("none", norm(pair(), less(arange(2), 0)), std::vector<double>(6, 0), 0);
  }
}

BOOST_AUTO_TEST_CASE(one_value_a_channel_is_told_the_way_out) {
  BatchNorm norm = make(3);
  for (const char* way : {"larger batch", "drop the last partial", "eval()", "LayerNorm"})
    BOOST_CHECK_EXCEPTION(norm(ones({1, 3}, DType::f64)), Error, says(way));
  norm.eval();
  BOOST_TEST((norm(ones({1, 3}, DType::f64)).shape() == Shape{1, 3}));
}

BOOST_AUTO_TEST_CASE(channels_last_is_the_transposed_input) {
  BatchNorm second = make(3), last = make(3, {.channels_last = true});
  raw::copy(wave({3}, 1, 0.9, 2), second.weight);
  last.weight = second.weight;
  const Tensor x = wave({4, 5, 3}, 2, 0.7);
  for (bool training : {true, false}) {
    second.train(training);
    last.train(training);
    check_close("y", last(x), transpose(second(transpose(x))).to_vector<double>(), 1e-13);
  }
  check_close("mean", last.running_mean, second.running_mean.to_vector<double>(), 1e-14);
  check_close("variance", last.running_var, second.running_var.to_vector<double>(), 1e-14);
}

// Training between an evaluation's forward and its backward does not reach what was kept.
BOOST_AUTO_TEST_CASE(evaluation_keeps_copies_of_its_statistics) {
  BatchNorm norm = make(3), undisturbed = norm;
  const Tensor x = wave({4, 3}, 2, 0.7).set_requires_grad();
  const auto gradient = [&](BatchNorm& layer, bool disturb) {
    Tape tape;
    layer.eval();
    const Tensor y = sum(layer(x) * wave({4, 3}, 1, 1.3));
    if (disturb) {
      const NoRecord pause;
      layer.train();
      layer(pair());
      raw::fill(layer.running_var, 99);
    }
    const auto d = tape.gradient(y, {x, layer.weight});
    return std::pair(d[0].to_vector<double>(), d[1].to_vector<double>());
  };
  BOOST_TEST((gradient(norm, true) == gradient(undisturbed, false)));
}

BOOST_AUTO_TEST_CASE(settings_are_checked) {
  BOOST_CHECK_EXCEPTION(BatchNorm(0), Error, says("BatchNorm: 0 channels"));
  for (double momentum : {-0.1, 1.5, std::nan("")})
    BOOST_CHECK_EXCEPTION(BatchNorm(3, {.momentum = momentum}), Error, says("momentum"));
  for (double eps : {-1e-5, std::nan("")})
    BOOST_CHECK_EXCEPTION(BatchNorm(3, {.eps = eps})(ones({2, 3})), Error,
                          says("batch_norm: eps is"));
}
