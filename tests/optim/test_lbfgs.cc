// What PyTorch's iterates, in tests/reference, do not show.
#define BOOST_TEST_MODULE lbfgs
#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/autograd/tape.h>
#include <gradus/optim/lbfgs.h>
#include <gradus/training/checkpoint.h>

#include <filesystem>
#include <limits>
#include <stdexcept>

#include "tests/checks.h"

using namespace gradus;
using test::check_close;
using test::says;
using test::wave;

namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr LbfgsOptions kWolfe{.tolerance_change = 1e-16,
                              .line_search_fn = LineSearch::strong_wolfe};

Tensor leaf(std::initializer_list<double> values, DType dtype = DType::f64) {
  return Tensor::of(values, dtype).set_requires_grad();
}

/// Rosenbrock's valley along neighbouring elements: least, 0, where all are 1.
Tensor rosenbrock(const Tensor& x) {
  const int64_t n = x.size(0);
  const Tensor a = slice(x, 0, 0, n - 1), b = slice(x, 0, 1, n);
  return sum(square(1 - a) + 100 * square(b - square(a)));
}

template <class F>
auto closure_of(F f, Tensor x) {
  return [f, x]() mutable {
    Tape tape;
    const Tensor loss = f(x);
    x.set_grad({});
    tape.backward(loss);
    return loss;
  };
}

std::string print(const Lbfgs& optimizer, const Tensor& x) {
  std::string text = fmt::format("{:.17}\n", x);
  for (const auto& [name, value] : optimizer.state())
    text += fmt::format("{} {:.17}\n", name, value);
  return text;
}

}  // namespace

BOOST_AUTO_TEST_CASE(minima_are_found_in_f64_and_f32_and_with_any_strides) {
  for (DType dtype : {DType::f64, DType::f32}) {
    Tensor x = leaf({-1.2, 1, 0.5}, dtype);
    Lbfgs optimizer({x}, kWolfe);
    const double first = optimizer.step(closure_of(rosenbrock, x));
    BOOST_TEST(first > 10);
    for (int i = 0; i < 5; ++i) optimizer.step(closure_of(rosenbrock, x));
    check_close("x", x, {1, 1, 1}, dtype == DType::f64 ? 1e-7 : 1e-2);

    const Tensor matrix = raw::cast(wave({3, 2}, 0, 1, 0), dtype);
    Tensor y = select(matrix, 1, 1);
    raw::copy(Tensor::of({-1.2, 1, 0.5}, dtype), y);
    y.set_requires_grad();
    Lbfgs other({y}, kWolfe);
    for (int i = 0; i < 6; ++i) other.step(closure_of(rosenbrock, y));
    check_close("column", y, x.to_vector<double>(), 0);
    check_close("beside it", select(matrix, 1, 0), {0, 0, 0}, 0);
  }
}

BOOST_AUTO_TEST_CASE(a_loaded_state_goes_on_bit_for_bit) {
  const auto folder = std::filesystem::temp_directory_path();
  const std::string file = folder / fmt::format("gradus-test-lbfgs-{}", ::getpid());
  const LbfgsOptions options{
      .max_iter = 3, .history_size = 4, .line_search_fn = LineSearch::strong_wolfe};
  Tensor x = leaf({-1.2, 1, 0.5}), y = leaf({9, 9, 9});
  Lbfgs optimizer({x}, options), resumed({y}, options), direct({y}, options);
  for (int i = 0; i < 3; ++i) optimizer.step(closure_of(rosenbrock, x));
  resumed.step(closure_of(rosenbrock, y));
  Checkpoint().add("x", x).add("optimizer", optimizer).save(file);
  Checkpoint().add("x", y).add("optimizer", resumed).load(file);
  std::filesystem::remove(file);
  direct.load_state(optimizer.state());
  BOOST_TEST(print(optimizer, x) == print(resumed, y));
  BOOST_TEST(print(optimizer, x) == print(direct, y));
  for (int i = 0; i < 3; ++i) {
    optimizer.step(closure_of(rosenbrock, x));
    resumed.step(closure_of(rosenbrock, y));
  }
  BOOST_TEST(print(optimizer, x) == print(resumed, y));
}

BOOST_AUTO_TEST_CASE(a_state_that_does_not_fit_changes_nothing) {
  Tensor x = leaf({-1.2, 1}), y = leaf({-1.2, 1}), z = leaf({0, 0, 0});
  Lbfgs optimizer({x}, kWolfe), other({y}, kWolfe), longer({z}, kWolfe);
  LbfgsOptions few = kWolfe;
  few.history_size = 2;
  Lbfgs short_memory({y}, few);
  optimizer.step(closure_of(rosenbrock, x));
  const NamedTensors good = optimizer.state();
  const auto with = [&](const std::string& name, const Tensor& value) {
    NamedTensors state = good;
    for (auto& entry : state)
      if (entry.first == name) entry.second = value;
    return state;
  };
  NamedTensors further = good, less = good;
  further.emplace_back("Lbfgs.more", ones({}));
  less.pop_back();
  const Tensor& dirs = good[6].second;
  BOOST_TEST_REQUIRE(good[6].first == "Lbfgs.old_dirs");
  const std::tuple<NamedTensors, const char*> cases[] = {
      {further, "a state of 9 values, 8 were expected"},
      {less, "no value for Lbfgs.old_stps"},
      {with("Lbfgs.n_iter", full({}, -1, DType::i64)), "Lbfgs.n_iter is -1"},
      {with("Lbfgs.t", ones({})), "Lbfgs.t is () f32, must be () f64"},
      {with("Lbfgs.d", ones({3}, DType::f64)), "Lbfgs.d is (3,) f64, must be (2,) f64"},
      {with("Lbfgs.old_dirs", zeros(dirs.shape(), DType::f64)), "has no positive curvature"}};
  const std::string before = print(other, y);
  for (const auto& [state, message] : cases) {
    BOOST_CHECK_EXCEPTION(other.load_state(state), Error, says(message));
    BOOST_TEST(print(other, y) == before);
  }
  BOOST_CHECK_EXCEPTION(longer.load_state(good), Error, says("must be (3,) f64"));
  BOOST_CHECK_EXCEPTION(short_memory.load_state(good), Error, says("history_size is 2"));
  other.load_state(good);
  BOOST_TEST(print(other, x) == print(optimizer, x));
}

BOOST_AUTO_TEST_CASE(a_step_that_fails_changes_neither_parameters_nor_state) {
  Tensor x = leaf({-1.2, 1});
  Lbfgs optimizer({x}, {.max_iter = 4, .line_search_fn = LineSearch::strong_wolfe});
  optimizer.step(closure_of(rosenbrock, x));
  const std::string before = print(optimizer, x);
  for (int at = 1; at <= 3; ++at) {
    int calls = 0;
    const auto bad = [&]() -> Tensor {
      if (++calls == at) throw std::runtime_error("no data");
      return closure_of(rosenbrock, x)();
    };
    BOOST_CHECK_THROW(optimizer.step(bad), std::runtime_error);
    BOOST_TEST(calls == at);
    BOOST_TEST(print(optimizer, x) == before);
  }
  BOOST_CHECK_EXCEPTION(optimizer.step([&] { return ones({2}); }), Error,
                        says("the closure's loss is (2,), must be one number"));
  BOOST_CHECK_EXCEPTION(optimizer.step([&] { return Tensor(); }), Error, says("an empty Tensor"));
  BOOST_CHECK_EXCEPTION(optimizer.step([&] { return full({}, kNan); }), Error,
                        says("the loss is nan or its gradient is not finite, where the step"));
  BOOST_TEST(print(optimizer, x) == before);
  Lbfgs fixed({x}, {.lr = 1e200});
  BOOST_CHECK_EXCEPTION(fixed.step(closure_of(rosenbrock, x)), Error, says("strong_wolfe"));
  check_close("x", x, x.to_vector<double>(), 0);
}

// log(x) is no number beyond 0, where the first trial lies: x - log(x) is least at 1.
BOOST_AUTO_TEST_CASE(a_trial_where_there_is_no_loss_is_too_far) {
  Tensor x = leaf({5});
  Lbfgs optimizer({x}, {.lr = 100, .line_search_fn = LineSearch::strong_wolfe});
  for (int i = 0; i < 3; ++i)
    optimizer.step(closure_of([](const Tensor& v) { return sum(v - log(v)); }, x));
  check_close("x", x, {1}, 1e-5);
}

BOOST_AUTO_TEST_CASE(a_parameter_without_a_gradient_stays) {
  Tensor x = leaf({-1.2, 1}), idle = leaf({3});
  Lbfgs optimizer({x, idle}, kWolfe);
  optimizer.step(closure_of(rosenbrock, x));
  check_close("idle", idle, {3}, 0);
  optimizer.zero_grad();
  BOOST_TEST(!x.grad());
}

BOOST_AUTO_TEST_CASE(what_it_cannot_be_made_of) {
  const Tensor x = leaf({1, 2}).set_name("fc.weight");
  BOOST_CHECK_EXCEPTION(Lbfgs({}), Error, says("no parameters"));
  BOOST_CHECK_EXCEPTION(Lbfgs({x, x}), Error, says("fc.weight (2,) is given twice"));
  BOOST_CHECK_EXCEPTION(Lbfgs({ones({2})}), Error, says("(2,) does not require a gradient"));
  BOOST_CHECK_EXCEPTION(Lbfgs({Tensor()}), Error, says("(empty)"));
  BOOST_CHECK_EXCEPTION(Lbfgs({x}, {.lr = -1}), Error, says("the learning rate is -1"));
  BOOST_CHECK_EXCEPTION(Lbfgs({x}, {.max_iter = 0}), Error, says("max_iter is 0"));
  BOOST_CHECK_EXCEPTION(Lbfgs({x}, {.max_eval = 0}), Error, says("max_eval is 0"));
  BOOST_CHECK_EXCEPTION(Lbfgs({x}, {.history_size = 0}), Error, says("history_size is 0"));
  BOOST_CHECK_EXCEPTION(Lbfgs({x}, {.tolerance_grad = kNan}), Error, says("tolerance_grad is nan"));
}
