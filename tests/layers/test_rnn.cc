#define BOOST_TEST_MODULE rnn
#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/cross_entropy.h>
#include <gradus/autograd/ops/dropout.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/gradcheck/samples.h>
#include <gradus/layers/batch_norm.h>
#include <gradus/layers/layer_norm.h>
#include <gradus/layers/linear.h>
#include <gradus/layers/rnn.h>
#include <gradus/optim/adam.h>
#include <gradus/tensor/random.h>
#include <gradus/tensor/runtime.h>

#include <algorithm>
#include <boost/mpl/list.hpp>
#include <cmath>

#include "tests/checks.h"

using namespace gradus;
using test::check_close;
using test::says;

namespace {

using Cells = boost::mpl::list<RnnCell, LstmCell, GruCell>;

const Tensor& hidden(const Tensor& h) { return h; }
const Tensor& hidden(const CellState& state) { return state.h; }

/// The gradients of sum h^2 + sum of all states, h the last.
template <class Model>
std::vector<Tensor> gradients(Model& model, const Tensor& x, auto states) {
  std::vector<Tensor> leaves = model.parameters();
  leaves.push_back(x);
  Tape tape;
  const auto [y, h] = states();
  return tape.gradient(sum(square(h)) + sum(y), leaves);
}

}  // namespace

BOOST_AUTO_TEST_CASE_TEMPLATE(a_sequence_is_its_steps, Cell, Cells) {
  Recurrent<Cell> model(3, 5);
  model.to(DType::f64);
  const Tensor x = sample({4, 6, 3}, 1);
  const auto whole = gradients(model, x, [&] {
    const RnnOutput out = model(x);
    return std::pair(out.y, out.h);
  });
  const auto steps = gradients(model, x, [&] {
    decltype(model.passes[0].cell(x)) state{};
    TensorList all;
    for (const Tensor& x_t : unbind(x, 1)) {
      state = model.passes[0].cell(x_t, state);
      all.push_back(hidden(state));
    }
    return std::pair(stack(all, 1), hidden(state));
  });
  BOOST_TEST_REQUIRE(whole.size() == steps.size());
  for (size_t i = 0; i < whole.size(); ++i)
    check_close("gradient", whole[i], steps[i].template to_vector<double>(), 1e-13);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a_sequence_goes_on_from_a_state, Cell, Cells) {
  Recurrent<Cell> model(3, 5);
  model.to(DType::f64);
  const Tensor x = sample({4, 6, 3}, 1);
  const RnnOutput first = model(slice(x, 1, 0, 2)),
                  second = model(slice(x, 1, 2, 6), {}, {first.h, first.c});
  check_close("y", concat({first.y, second.y}, 1), model(x).y.template to_vector<double>(), 1e-14);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(parameters_have_pytorchs_names_and_shapes, Cell, Cells) {
  Cell cell(3, 5);
  const int64_t rows = cell.weight_ih.size(0);
  const std::pair<const char*, Shape> expected[] = {
      {"weight_ih", {rows, 3}}, {"weight_hh", {rows, 5}}, {"bias_ih", {rows}}, {"bias_hh", {rows}}};
  const NamedTensors state = cell.state();
  BOOST_TEST_REQUIRE(state.size() == 4u);
  for (size_t i = 0; i < state.size(); ++i) {
    BOOST_TEST(state[i].first == expected[i].first);
    BOOST_TEST((state[i].second.shape() == expected[i].second));
  }
  BOOST_TEST(Cell(3, 5, {.bias = false}).state().size() == 2u);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(stacked_parameters_have_pytorchs_names_and_order, Cell, Cells) {
  Recurrent<Cell> model(3, 5, {.num_layers = 2, .bidirectional = true});
  const int64_t rows = model.passes[0].cell.weight_ih.size(0);
  std::vector<std::pair<std::string, Shape>> expected;
  for (const std::string pass : {"_l0", "_l0_reverse", "_l1", "_l1_reverse"})
    expected.insert(expected.end(), {{"weight_ih" + pass, {rows, pass.starts_with("_l0") ? 3 : 10}},
                                     {"weight_hh" + pass, {rows, 5}},
                                     {"bias_ih" + pass, {rows}},
                                     {"bias_hh" + pass, {rows}}});
  const NamedTensors state = model.state();
  BOOST_TEST_REQUIRE(state.size() == expected.size());
  for (size_t i = 0; i < state.size(); ++i) {
    BOOST_TEST(state[i].first == expected[i].first);
    BOOST_TEST((state[i].second.shape() == expected[i].second));
  }
}

// Layer by layer, by nets of one layer and one direction: backward is forward over the reversed
// steps.
BOOST_AUTO_TEST_CASE_TEMPLATE(a_stack_is_its_layers, Cell, Cells) {
  Recurrent<Cell> model(3, 5, {.num_layers = 2, .bidirectional = true});
  model.to(DType::f64);
  const auto one = [&](size_t pass, const Tensor& x) {
    Recurrent<Cell> alone(x.size(2), 5);
    alone.to(DType::f64);
    alone.passes[0].cell = model.passes[pass].cell;
    return alone(x);
  };
  const auto reversed = [](const Tensor& x) {
    TensorList steps = unbind(x, 1);
    std::reverse(steps.begin(), steps.end());
    return stack(steps, 1);
  };
  const Tensor x = sample({4, 6, 3}, 1);
  Tensor y = x;
  TensorList h;
  for (size_t layer = 0; layer < 2; ++layer) {
    const RnnOutput forward = one(2 * layer, y), backward = one(2 * layer + 1, reversed(y));
    y = concat({forward.y, reversed(backward.y)}, 2);
    h.push_back(forward.h), h.push_back(backward.h);
  }
  const RnnOutput out = model(x);
  check_close("y", out.y, y.template to_vector<double>(), 0);
  check_close("h", out.h, stack(h).template to_vector<double>(), 0);
}

BOOST_AUTO_TEST_CASE(dropout_is_between_the_layers_in_training) {
  Gru model(3, 5, {.num_layers = 2, .dropout = 0.5}), plain(3, 5, {.num_layers = 2});
  plain.load_state(model.state());
  const Tensor x = randn({4, 6, 3});
  model.eval();
  check_close("evaluated", model(x).y, plain(x).y.to_vector<double>(), 0);
  model.train();
  Gru lower(3, 5), upper(5, 5);
  lower.passes[0].cell = model.passes[0].cell;
  upper.passes[0].cell = model.passes[1].cell;
  manual_seed(3);
  const Tensor between = dropout(lower(x).y, 0.5);
  manual_seed(3);
  check_close("trained", model(x).y, upper(between).y.to_vector<double>(), 0);
  Gru all(3, 5, {.num_layers = 2, .dropout = 1});
  all.passes[1].cell = model.passes[1].cell;
  check_close("nothing passes", all(x).y, upper(zeros({4, 6, 5})).y.to_vector<double>(), 0);
}

BOOST_AUTO_TEST_CASE(a_stack_is_described_and_refuses_what_does_not_fit) {
  Lstm model(3, 5, {.num_layers = 2, .bidirectional = true, .dropout = 0.25});
  BOOST_TEST(model.describe() == "Lstm(3, 5, 2 layers, bidirectional, dropout 0.25)");
  BOOST_CHECK_EXCEPTION(model(randn({4, 2, 3}), {}, {randn({4, 5}), {}}), Error,
                        says("Lstm: the first state is (4, 5), must be (4, 4, 5) for x (4, 2, 3)"));
  BOOST_CHECK_EXCEPTION(model(randn({4, 2, 3}), {}, {{}, randn({2, 4, 5})}), Error,
                        says("must be (4, 4, 5)"));
  BOOST_CHECK_EXCEPTION(Gru(3, 5, {.num_layers = 2})(randn({4, 2, 3}), {}, {{}, randn({2, 4, 5})}),
                        Error, says("a first c, which only an LSTM has"));
  BOOST_CHECK_EXCEPTION(Gru(3, 5, {.num_layers = 0}), Error, says("Gru: 0 layers"));
  BOOST_CHECK_EXCEPTION(Gru(3, 5, {.dropout = 1.5}), Error, says("a dropout of 1.5"));
}

BOOST_AUTO_TEST_CASE(without_biases_they_are_zero) {
  LstmCell with(3, 5), without(3, 5, {.bias = false});
  without.weight_ih = with.weight_ih;
  without.weight_hh = with.weight_hh;
  raw::fill(with.bias_ih, 0);
  raw::fill(with.bias_hh, 0);
  const Tensor x = randn({4, 3});
  check_close("h", without(x).h, with(x).h.to_vector<double>(), 0);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(training_is_the_same_on_any_number_of_threads, Cell, Cells) {
  const int before = threads();
  const auto trained = [](int count) {
    set_threads(count);
    manual_seed(1);
    Recurrent<Cell> model(9, 40);
    Linear head(40, 10);
    std::vector<Tensor> parameters = model.parameters();
    for (const Tensor& parameter : head.parameters()) parameters.push_back(parameter);
    Adam optimizer(parameters);
    const Tensor lengths = randint(0, 8, {70}, default_generator());
    for (int i = 0; i < 10; ++i) {
      const Tensor x = randn({70, 7, 9}), labels = randint(0, 10, {70}, default_generator());
      Tape tape;
      const Tensor loss = cross_entropy(head(model(x, lengths).h), labels);
      optimizer.zero_grad();
      tape.backward(loss);
      optimizer.step();
    }
    std::vector<float> all;
    for (const Tensor& parameter : parameters)
      for (float value : parameter.template to_vector<float>()) all.push_back(value);
    return all;
  };
  const std::vector<float> one = trained(1);
  BOOST_TEST((one == trained(2)));
  BOOST_TEST((one == trained(3)));
  set_threads(before);
}

// The definition, step by step: statistics of the sequences that are there; of one, the running
// ones (which are 0 and 1 at first); of none, nothing.
BOOST_AUTO_TEST_CASE(batch_norm_per_step_trains_on_sequences_of_any_lengths) {
  const std::vector<int64_t> lengths = {5, 2, 1, 4};
  constexpr int64_t kSteps = 6, kHidden = 3;
  const auto over_steps = [](int64_t n) { return BatchNorm(n, {.channels_last = true}); };
  Rnn model(2, kHidden, {.norm = over_steps, .norm_steps = kSteps});
  model.to(DType::f64);
  const Tensor x = sample({4, kSteps, 2}, 1), n = Tensor::from(lengths, {4});
  const Tensor y = model(x, n).y, a = model.passes[0].cell.project(x);
  const auto expected_y = [&](std::vector<double>& h, int64_t i, int64_t j, double normed) {
    double sum = normed + model.passes[0].cell.bias_hh.at({j});
    for (int64_t k = 0; k < kHidden; ++k)
      sum += model.passes[0].cell.weight_hh.at({j, k}) * h[static_cast<size_t>(i * kHidden + k)];
    return std::tanh(sum);
  };
  std::vector<double> h(4 * kHidden, 0.0);
  for (int64_t t = 0; t < kSteps; ++t) {
    std::vector<int64_t> there;
    for (int64_t i = 0; i < 4; ++i)
      if (lengths[static_cast<size_t>(i)] > t) there.push_back(i);
    auto& norm = dynamic_cast<BatchNorm&>(*model.passes[0].norms[static_cast<size_t>(t)]);
    const bool batch = there.size() > 1;
    BOOST_TEST(norm.num_batches_tracked.item() == (batch ? 1 : 0));
    const auto count = static_cast<double>(there.size());
    std::vector<double> next = h;
    for (int64_t j = 0; j < kHidden; ++j) {
      double mean = 0, var = 0;
      for (int64_t i : there) mean += a.at({i, t, j}) / count;
      for (int64_t i : there) var += std::pow(a.at({i, t, j}) - mean, 2) / count;
      BOOST_TEST(std::abs(norm.running_mean.at({j}) - (batch ? 0.1 * mean : 0)) < 1e-14);
      BOOST_TEST(std::abs(norm.running_var.at({j}) -
                          (batch ? 0.9 + 0.1 * var * count / (count - 1) : 1)) < 1e-14);
      if (!batch) mean = 0, var = 1;
      for (int64_t i : there)
        next[static_cast<size_t>(i * kHidden + j)] =
            expected_y(h, i, j, (a.at({i, t, j}) - mean) / std::sqrt(var + 1e-5));
    }
    h = next;
    for (int64_t i = 0; i < 4; ++i)
      for (int64_t j = 0; j < kHidden; ++j)
        BOOST_TEST(std::abs(y.at({i, t, j}) - (lengths[static_cast<size_t>(i)] > t
                                                   ? h[static_cast<size_t>(i * kHidden + j)]
                                                   : 0)) < 1e-12,
                   "sequence " << i << ", step " << t);
  }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(batch_norm_per_step_learns_from_padded_batches, Cell, Cells) {
  const auto over_steps = [](int64_t n) { return BatchNorm(n, {.channels_last = true}); };
  Recurrent<Cell> model(2, 4, {.norm = over_steps, .norm_steps = 3});
  Adam optimizer(model.parameters(), {.lr = 0.02});
  Generator generator(1);
  const Tensor x = randn({5, 6, 2}, generator), target = randn({5, 4}, generator);
  const Tensor lengths = Tensor::of({6, 1, 0, 4, 2}, DType::i64);
  double first = 0, last = 0;
  for (int step = 0; step < 100; ++step) {
    Tape tape;
    const Tensor loss = sum(square(model(x, lengths).h - target));
    optimizer.zero_grad();
    tape.backward(loss);
    optimizer.step();
    last = loss.item();
    if (step == 0) first = last;
  }
  BOOST_TEST(last < 0.8 * first);
}

// Statistics are of the sequences that are there; later steps are the last norm's.
BOOST_AUTO_TEST_CASE(batch_norm_of_the_sum_per_step) {
  const auto over_steps = [](int64_t n) { return BatchNorm(n, {.channels_last = true}); };
  Rnn model(2, 3, {.cell = {.norm = over_steps, .norm_steps = 2}});
  model.to(DType::f64);
  std::vector<std::vector<int64_t>> counts(2);
  for (size_t t = 0; t < 2; ++t)
    dynamic_cast<BatchNorm&>(*model.passes[0].cell.norms[t]).observer =
        [&, t](const BatchStatistics& batch) { counts[t].push_back(batch.count); };
  model(sample({4, 5, 2}, 1), Tensor::of({5, 2, 1, 4}, DType::i64));
  BOOST_TEST(counts[0] == (std::vector<int64_t>{4}));
  BOOST_TEST(counts[1] == (std::vector<int64_t>{3, 2, 2}));  // of one in step 4 none are taken
  BOOST_CHECK_EXCEPTION(model.passes[0].cell(ones({4, 2}, DType::f64)), Error,
                        says("a norm for each of 2 steps; run it in an Rnn"));
}

BOOST_AUTO_TEST_CASE(norms_in_and_before_a_gated_cell_are_refused) {
  const auto norm = [](int64_t n) { return LayerNorm(n); };
  Lstm lstm(2, 3, {.cell = {.norm = norm}, .norm = norm});
  Gru gru(2, 3, {.cell = {.norm = norm}, .norm = norm});
  BOOST_CHECK_EXCEPTION(lstm(ones({4, 2, 2})), Error, says("LstmCell: norms of the projected"));
  BOOST_CHECK_EXCEPTION(gru(ones({4, 2, 2})), Error, says("GruCell: norms of the projected"));
}

namespace {

template <class Cell, class Options>
void check_run_refuses(const Options& options) {
  Cell cell(2, 3, options);
  const Tensor x = ones({4, 5, 2});
  for (const Shape& shape : {Shape{4, 4}, Shape{4, 6}, Shape{3, 5}, Shape{4}, Shape{4, 5, 1}})
    BOOST_CHECK_THROW(cell.run(x, false, {}, ones(shape, DType::boolean)), Error);
  BOOST_CHECK_THROW(cell.run(x, false, {}, ones({4, 5})), Error);
  BOOST_CHECK_THROW(cell.run(ones({4, 2}), false, {}, ones({4, 1}, DType::boolean)), Error);
  BOOST_CHECK_THROW(cell.run(ones({4, 5, 3}), false, {}, {}), Error);
  BOOST_CHECK_THROW(cell.run(ones({2}), false, {}, {}), Error);
  BOOST_CHECK_THROW(cell.run(ones({1, 4, 5, 2}), false, {}, {}), Error);
  for (const Shape& shape : {Shape{1, 3}, Shape{4, 1}, Shape{3}, Shape{5, 4, 3}})
    BOOST_CHECK_THROW(cell.run(x, false, ones(shape), {}), Error);
  if (!std::is_same_v<Cell, LstmCell>)
    BOOST_CHECK_THROW(cell.run(x, false, {ones({4, 3}), ones({4, 3})}, {}), Error);
  BOOST_TEST((cell.run(ones({4, 0, 2}), false, {}, {}).y.shape() == Shape{4, 0, 3}));
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_run_refuses_what_does_not_fit) {
  for (const MakeNorm& norm : {MakeNorm(), MakeNorm([](int64_t n) { return LayerNorm(n); })}) {
    check_run_refuses<RnnCell>(RnnCellOptions{.norm = norm});
    check_run_refuses<LstmCell>(GatedCellOptions{.norm = norm});
    check_run_refuses<GruCell>(GatedCellOptions{.norm = norm});
  }
}

BOOST_AUTO_TEST_CASE(bad_inputs_name_the_layer) {
  LstmCell cell(3, 5);
  BOOST_CHECK_EXCEPTION(cell(randn({4, 2})), Error,
                        says("LstmCell: 2 features in x (4, 2), not 3"));
  BOOST_CHECK_EXCEPTION(cell(randn({4, 3}), {randn({4, 4}), {}}), Error,
                        says("LstmCell: the first state is (4, 4), must be (4, 5)"));
  Gru gru(3, 5);
  BOOST_CHECK_EXCEPTION(gru(randn({4, 3})), Error, says("Gru: x must be (N, T, D), is (4, 3)"));
  BOOST_CHECK_EXCEPTION(gru(randn({4, 0, 3})), Error, says("Gru: no steps"));
  BOOST_CHECK_EXCEPTION(gru(randn({4, 2, 3}), Tensor::of({1, 2}, DType::i64)), Error,
                        says("2 lengths for 4 sequences"));
  BOOST_CHECK_EXCEPTION(GruCell(0, 5), Error, says("0 inputs"));
}
