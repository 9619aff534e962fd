#define BOOST_TEST_MODULE optimizer
#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/inplace.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/optim/adam.h>
#include <gradus/optim/rmsprop.h>
#include <gradus/optim/schedule.h>
#include <gradus/optim/sgd.h>
#include <gradus/tensor/safetensors.h>

#include <filesystem>
#include <functional>
#include <limits>
#include <memory>

#include "tests/checks.h"

using namespace gradus;
using test::check_close;
using test::says;
using test::wave;

// What all optimizers share. The update rules themselves are compared with PyTorch's elsewhere.
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

Tensor leaf(std::initializer_list<double> values) {
  return Tensor::of(values, DType::f64).set_requires_grad();
}

/// A user's own method, written in ops.
class RunningMean : public Optimizer {
 public:
  explicit RunningMean(std::vector<Tensor> parameters) : Optimizer({"mean"}) {
    add_group({std::move(parameters), 0.1});
  }

 protected:
  void update(const Update& u) override {
    u.moments[0] = u.moments[0] * 0.9 + u.gradient * 0.1;
    copy_(u.parameter, u.parameter - u.moments[0] * u.lr);
  }
};

using Make = std::function<std::unique_ptr<Optimizer>(std::vector<Tensor>)>;

template <class O, class Options>
Make maker(Options options) {
  return [=](std::vector<Tensor> p) { return std::make_unique<O>(std::move(p), options); };
}

const std::pair<const char*, Make> kOptimizers[] = {
    {"Sgd", maker<Sgd>(SgdOptions{.lr = 0.1})},
    {"Sgd with momentum", maker<Sgd>(SgdOptions{.lr = 0.1, .momentum = 0.9, .nesterov = true})},
    {"Adam", maker<Adam>(AdamOptions{.lr = 0.1, .weight_decay = 0.01})},
    {"AdamW", maker<AdamW>(AdamWOptions{.lr = 0.1})},
    {"Rmsprop", maker<Rmsprop>(RmspropOptions{.lr = 0.1})},
    {"Rmsprop, all", maker<Rmsprop>(RmspropOptions{.lr = 0.1, .momentum = 0.9, .centered = true})},
    {"of ops", [](std::vector<Tensor> p) { return std::make_unique<RunningMean>(std::move(p)); }}};

/// Everything an optimizer and its parameters hold.
std::string print(const Optimizer& optimizer, std::span<const Tensor> parameters) {
  std::string text;
  for (const Tensor& p : parameters) {
    text += fmt::format("{:.17}", p);
    if (p.grad()) text += fmt::format(" grad {:.17}", p.grad());
    text += "\n";
  }
  for (const auto& [path, value] : optimizer.state())
    text += fmt::format("{} {:.17}\n", path, value);
  return text;
}

/// A step with gradients that depend on parameters and the step's number.
void step(Optimizer& optimizer, std::span<Tensor> parameters, int number) {
  for (Tensor& p : parameters) {
    const NoRecord pause;
    p.set_grad(sin(p * 3) + wave(p.shape(), 1, 0.3 + number));
  }
  optimizer.step();
}

}  // namespace

BOOST_AUTO_TEST_CASE(rates_that_are_none_are_errors) {
  const std::vector p{leaf({1})};
  for (double bad : {-1e-3, kNan, kInf}) {
    BOOST_TEST_CONTEXT(bad) {
      const auto lr = says("the learning rate is"), decay = says("weight decay is"),
                 betas = says("betas"), eps = says("eps is"), momentum = says("momentum is");
      BOOST_CHECK_EXCEPTION(Sgd(p, {.lr = bad}), Error, lr);
      BOOST_CHECK_EXCEPTION(Adam(p, {.lr = bad}), Error, lr);
      BOOST_CHECK_EXCEPTION(AdamW(p, {.lr = bad}), Error, lr);
      BOOST_CHECK_EXCEPTION(Rmsprop(p, {.lr = bad}), Error, lr);
      BOOST_CHECK_EXCEPTION(Sgd(p, {.weight_decay = bad}), Error, decay);
      BOOST_CHECK_EXCEPTION(Adam(p, {.weight_decay = bad}), Error, decay);
      BOOST_CHECK_EXCEPTION(Rmsprop(p, {.weight_decay = bad}), Error, decay);
      BOOST_CHECK_EXCEPTION(Adam(p, {.beta1 = bad}), Error, betas);
      BOOST_CHECK_EXCEPTION(Adam(p, {.beta2 = bad}), Error, betas);
      BOOST_CHECK_EXCEPTION(Rmsprop(p, {.alpha = bad}), Error, says("alpha"));
      BOOST_CHECK_EXCEPTION(Adam(p, {.eps = bad}), Error, eps);
      BOOST_CHECK_EXCEPTION(Rmsprop(p, {.eps = bad}), Error, eps);
      BOOST_CHECK_EXCEPTION(Sgd(p, {.momentum = bad}), Error, momentum);
      BOOST_CHECK_EXCEPTION(Rmsprop(p, {.momentum = bad}), Error, momentum);
      BOOST_CHECK_EXCEPTION(Sgd(p, {.dampening = bad}), Error, says("dampening is"));

      Sgd sgd(p, {.lr = 0.5});
      BOOST_CHECK_EXCEPTION(sgd.set_lr(bad), Error, lr);
      BOOST_CHECK_EXCEPTION(sgd.set_lr_factor(bad), Error, says("factor is"));
      BOOST_CHECK_EXCEPTION(sgd.add_group({{leaf({2})}, bad}), Error, lr);
      BOOST_CHECK_EXCEPTION(sgd.add_group({{leaf({2})}, 0.1, bad}), Error, decay);
      BOOST_TEST(sgd.lr() == 0.5);
      BOOST_TEST(sgd.group_count() == 1u);
    }
  }
  BOOST_CHECK_EXCEPTION(Adam(p, {.beta1 = 1}), Error, says("betas 1 and 0.999"));
  BOOST_CHECK_EXCEPTION(Sgd(p, {.nesterov = true}), Error, says("Nesterov needs momentum"));
  BOOST_CHECK_EXCEPTION(Sgd(p, {.momentum = 0.9, .dampening = 0.1, .nesterov = true}), Error,
                        says("no dampening (is 0.1)"));
}

BOOST_AUTO_TEST_CASE(parameters_that_cannot_be_trained_are_errors) {
  const Tensor a = leaf({1, 2}).set_name("fc.weight"), b = leaf({3}), constant = ones({2});
  BOOST_CHECK_EXCEPTION(Sgd({}), Error, says("a group without parameters"));
  BOOST_CHECK_EXCEPTION(Sgd({a, b, a}), Error, says("parameter fc.weight (2,) is given twice"));
  BOOST_CHECK_EXCEPTION(Sgd({a, constant}), Error, says("(2,) does not require a gradient"));
  BOOST_CHECK_EXCEPTION(Sgd({a, Tensor()}), Error, says("(empty)"));
  Sgd sgd({a});
  BOOST_CHECK_EXCEPTION(sgd.add_group({{b, a}, 0.1}), Error, says("fc.weight (2,) is given twice"));
  BOOST_TEST(sgd.group_count() == 1u);
  sgd.add_group({{b}, 0.1});
  BOOST_TEST(sgd.group_count() == 2u);
}

BOOST_AUTO_TEST_CASE(a_parameter_without_a_gradient_is_left_alone) {
  for (const auto& [name, make] : kOptimizers) {
    BOOST_TEST_CONTEXT(name) {
      std::vector p{leaf({1, 2}), leaf({3})};
      const auto optimizer = make(p);
      p[0].set_grad(ones({2}, DType::f64));
      optimizer->step();
      check_close("untouched", p[1], {3}, 0);
      BOOST_TEST(p[0].at({0}) < 1);
      for (const auto& [path, value] : optimizer->state())
        if (path.ends_with("step")) BOOST_TEST(value.item() == (path == "0.0.step" ? 1 : 0), path);
      // Its first step, weight decay and bias correction included, is a first step.
      std::vector alone{leaf({3})};
      const auto other = make(alone);
      alone[0].set_grad(ones({1}, DType::f64));
      p[1].set_grad(ones({1}, DType::f64));
      p[0].set_grad({});
      other->step();
      optimizer->step();
      check_close("as alone", p[1], alone[0].to_vector<double>(), 0);
    }
  }
}

BOOST_AUTO_TEST_CASE(zero_grad_leaves_no_gradient) {
  std::vector p{leaf({1, 2})};
  Adam adam(p);
  p[0].set_grad(ones({2}, DType::f64));
  adam.zero_grad();
  BOOST_TEST(!p[0].grad());
  adam.step();
  check_close("untouched", p[0], {1, 2}, 0);
}

BOOST_AUTO_TEST_CASE(groups_have_rates_of_their_own) {
  Tensor a = leaf({1}), b = leaf({1}), c = leaf({1});
  Sgd sgd({a, b}, {.lr = 0.5});
  sgd.add_group({{c}, 0.25, 2});  // g = 1 + 2 c
  const auto all_with_gradient_1 = [&] {
    for (Tensor* p : {&a, &b, &c}) p->set_grad(ones({1}, DType::f64));
    sgd.step();
  };
  all_with_gradient_1();
  check_close("a, b, c", stack({a, b, c}), {0.5, 0.5, 0.25}, 1e-15);
  sgd.set_lr(0, 1);
  sgd.set_lr_factor(0.5);
  all_with_gradient_1();
  check_close("a, b, c", stack({a, b, c}), {0.25, 0.25, 0.25}, 1e-15);
  BOOST_TEST(sgd.lr(0) == 0.5);
  BOOST_TEST(sgd.lr(1) == 0);
  BOOST_CHECK_EXCEPTION(sgd.lr(2), Error, says("group 2 of 2"));
  BOOST_CHECK_EXCEPTION(sgd.set_lr(1, 2), Error, says("group 2 of 2"));
}

BOOST_AUTO_TEST_CASE(nothing_is_recorded) {
  for (const auto& [name, make] : kOptimizers) {
    BOOST_TEST_CONTEXT(name) {
      std::vector p{leaf({1, 2}), leaf({3})};
      const auto optimizer = make(p);
      Tape tape;
      tape.backward(sum(square(p[0])) * sum(p[1]), {.create_graph = CreateGraph::yes});
      BOOST_TEST_REQUIRE(needs_grad(p[0].grad()));
      const size_t before = tape.size();
      clip_grad_norm(p, 0.5);
      optimizer->step();
      BOOST_TEST(tape.size() == before);
      BOOST_TEST(p[0].requires_grad());
      BOOST_TEST(p[0].at({0}) != 1);
    }
  }
}

// A step changes what a tape kept, and the tape's sweep says so.
BOOST_AUTO_TEST_CASE(a_sweep_after_the_step_is_an_error) {
  std::vector p{leaf({1, 2})};
  Sgd sgd(p);
  Tape tape;
  const Tensor y = sum(square(p[0]));
  tape.backward(y, {.keep_graph = true});
  sgd.step();
  BOOST_CHECK_EXCEPTION(tape.backward(y), Error, says("changed in place"));
}

BOOST_AUTO_TEST_CASE(gradients_may_be_views) {
  for (const auto& [name, make] : kOptimizers) {
    std::vector p{wave({3, 2}, 1, 0.7).set_requires_grad()},
        q{raw::clone(p[0]).set_requires_grad()};
    const Tensor gradient = wave({2, 3}, 1, 0.4);
    p[0].set_grad(transpose(gradient));
    q[0].set_grad(raw::clone(transpose(gradient)));
    make(p)->step();
    make(q)->step();
    check_close(name, p[0], q[0].to_vector<double>(), 0);
  }
}

BOOST_AUTO_TEST_CASE(a_loaded_state_goes_on_bit_for_bit) {
  const std::string file = "test_optimizer.safetensors";
  for (const auto& [name, make] : kOptimizers) {
    BOOST_TEST_CONTEXT(name) {
      std::vector p{wave({3, 2}, 1, 0.7).set_requires_grad(), leaf({0.5}), leaf({1, 2})};
      const auto optimizer = make({p[0]});
      optimizer->add_group({{p[1], p[2]}, 0.05, 0.1});
      for (int i = 0; i < 3; ++i) step(*optimizer, {p.data(), 2}, i);  // p[2]: no step yet

      std::vector<Tensor> q;
      for (const Tensor& x : p) q.push_back(raw::clone(x).set_requires_grad());
      const auto resumed = make({q[0]});
      resumed->add_group({{q[1], q[2]}, 0.05, 0.1});
      save_safetensors(file, optimizer->state());
      resumed->load_state(load_safetensors(file));
      for (int i = 3; i < 6; ++i) {
        step(*optimizer, p, i);
        step(*resumed, q, i);
      }
      BOOST_TEST(print(*optimizer, p) == print(*resumed, q));
    }
  }
  std::filesystem::remove(file);
}

BOOST_AUTO_TEST_CASE(a_loaded_state_is_a_copy) {
  std::vector p{leaf({1, 2})}, q{leaf({1, 2})};
  Adam adam(p), other(q);
  step(adam, p, 0);
  const auto state = adam.state();
  other.load_state(state);
  step(adam, p, 1);
  BOOST_TEST(other.state()[1].second.to_vector<double>() !=
             adam.state()[1].second.to_vector<double>());
}

// Each time all values but one would fit.
BOOST_AUTO_TEST_CASE(a_state_that_does_not_fit_changes_nothing) {
  using State = std::vector<std::pair<std::string, Tensor>>;
  std::vector p{leaf({1, 2}), leaf({3})}, q{leaf({4, 5}), leaf({6})};
  Adam adam(p), source(q);
  step(adam, p, 0);
  step(source, q, 1);
  step(source, q, 2);
  const State good = source.state();
  BOOST_TEST_REQUIRE(good.back().first == "0.1.exp_avg_sq");
  const auto with = [&](const char* path, const Tensor& value) {
    State state = good;
    for (auto& entry : state)
      if (entry.first == path) entry.second = value;
    return state;
  };
  const auto without = [&](const char* path) {
    State state = good;
    std::erase_if(state, [&](const auto& entry) { return entry.first == path; });
    return state;
  };
  State further = good;
  further.emplace_back("1.0.step", full({}, 1, DType::i64));
  std::vector r{leaf({4, 5}), leaf({6})};
  Sgd plain(r);
  step(plain, r, 0);
  const std::tuple<const char*, State, const char*> cases[] = {
      {"no step", without("0.1.step"), "no value for 0.1.step"},
      {"no moment", without("0.1.exp_avg_sq"), "no value for 0.1.exp_avg_sq"},
      {"of another method", plain.state(), "no value for 0.0.exp_avg"},
      {"further", further, "1 of 7 given values belong to no parameter"},
      {"shape", with("0.1.exp_avg_sq", ones({2}, DType::f64)), "0.1.exp_avg_sq is (2,) f64 for"},
      {"dtype", with("0.1.exp_avg_sq", ones({1})), "0.1.exp_avg_sq is (1,) f32 for"},
      {"steps", with("0.1.step", full({}, -1, DType::i64)), "0.1.step is -1"},
      {"several steps", with("0.1.step", ones({2}, DType::i64)), "0.1.step is (2,) i64"},
      {"a step of another dtype", with("0.1.step", full({}, 1.5)), "0.1.step is () f32"}};
  const std::string before = print(adam, p);
  for (const auto& [what, state, message] : cases) {
    BOOST_TEST_CONTEXT(what) {
      BOOST_CHECK_EXCEPTION(adam.load_state(state), Error, says(message));
      BOOST_TEST(print(adam, p) == before);
    }
  }
  adam.load_state(good);
  BOOST_TEST(print(adam, {}) == print(source, {}));
}

BOOST_AUTO_TEST_CASE(clipping_scales_all_gradients_together) {
  Tensor a = leaf({0, 0}), b = leaf({0}), c = leaf({0});
  const std::vector p{a, b, c};  // c has no gradient
  const auto set = [&](double x, double y, double z) {
    a.set_grad(Tensor::of({x, y}, DType::f64));
    b.set_grad(Tensor::of({z}, DType::f64));
  };
  set(2, 3, 6);
  BOOST_TEST(clip_grad_norm(p, 7) == 7);  // not above the limit: as they were
  check_close("a", a.grad(), {2, 3}, 0);
  BOOST_TEST(clip_grad_norm(p, 3.5) == 7);
  check_close("a", a.grad(), {1, 1.5}, 1e-15);
  check_close("b", b.grad(), {3}, 1e-15);
  BOOST_TEST(!c.grad());
  BOOST_TEST(clip_grad_norm(std::vector{c}, 1) == 0);
  BOOST_TEST(clip_grad_norm({}, 1) == 0);
  set(2, 3, 6);
  BOOST_TEST(clip_grad_norm(p, kInf) == 7);
  check_close("a", a.grad(), {2, 3}, 0);

  Tensor wide = zeros({2, 3}, DType::f64).set_requires_grad();
  wide.set_grad(transpose(full({3, 2}, 2, DType::f64)));
  BOOST_TEST(clip_grad_norm(std::vector{wide}, 1) == std::sqrt(24.0));
  check_close("of a view", wide.grad(), std::vector<double>(6, 2 / std::sqrt(24.0)), 1e-15);
}

BOOST_AUTO_TEST_CASE(clipping_what_is_not_finite_is_an_error_that_changes_nothing) {
  for (double bad : {kNan, kInf, -kInf}) {
    Tensor a = leaf({0, 0}), b = leaf({0});
    const std::vector p{a, b};
    a.set_grad(Tensor::of({30, 40}, DType::f64));
    b.set_grad(Tensor::of({bad}, DType::f64));
    BOOST_CHECK_EXCEPTION(clip_grad_norm(p, 1), Error,
                          says("clip_grad_norm: the gradients' norm is"));
    check_close("a", a.grad(), {30, 40}, 0);
    b.set_grad(ones({1}, DType::f64));
    for (double limit : {0.0, -1.0, kNan})
      BOOST_CHECK_EXCEPTION(clip_grad_norm(p, limit), Error, says("max_norm is"));
    check_close("a", a.grad(), {30, 40}, 0);
  }
}

BOOST_AUTO_TEST_CASE(schedules_at_their_boundaries) {
  const auto check_at = [](const char* what, const Schedule& schedule,
                           std::initializer_list<std::pair<int64_t, double>> expected) {
    for (const auto& [at, value] : expected)
      BOOST_TEST(std::abs(schedule(at) - value) <= 1e-15,
                 what << " at " << at << ": " << schedule(at));
  };
  check_at("constant", constant_schedule(), {{0, 1}, {1'000'000, 1}});
  check_at("step", step_schedule(10, 0.5), {{0, 1}, {9, 1}, {10, 0.5}, {19, 0.5}, {20, 0.25}});
  check_at("cosine", cosine_schedule(8),
           {{0, 1}, {2, (1 + std::sqrt(0.5)) / 2}, {4, 0.5}, {8, 0}, {9, 0}, {1000, 0}});
  check_at("cosine to 0.2", cosine_schedule(8, 0.2), {{0, 1}, {4, 0.6}, {8, 0.2}, {9, 0.2}});
  check_at("warm-up", warmup_schedule(4, step_schedule(2, 0.5)),
           {{0, 0.25}, {2, 0.75}, {3, 1}, {4, 1}, {5, 1}, {6, 0.5}, {8, 0.25}});
  check_at("no warm-up", warmup_schedule(0, cosine_schedule(4)), {{0, 1}, {2, 0.5}, {4, 0}});
  BOOST_CHECK_EXCEPTION(step_schedule(0), Error, says("step_schedule: period 0"));
  BOOST_CHECK_EXCEPTION(step_schedule(5, kNan), Error, says("gamma nan"));
  BOOST_CHECK_EXCEPTION(cosine_schedule(0), Error, says("cosine_schedule: 0 steps"));
  BOOST_CHECK_EXCEPTION(cosine_schedule(5, 1.5), Error, says("down to 1.5"));
  BOOST_CHECK_EXCEPTION(warmup_schedule(-1), Error, says("warmup_schedule: -1 steps"));
}

BOOST_AUTO_TEST_CASE(a_schedule_s_factor_multiplies_the_rate) {
  Tensor p = leaf({1});
  Sgd sgd({p}, {.lr = 1});
  const Schedule schedule = warmup_schedule(2, cosine_schedule(2));
  double expected = 1;
  for (int64_t i = 0; i < 5; ++i) {
    sgd.set_lr_factor(schedule(i));
    p.set_grad(full({1}, 0.125, DType::f64));
    sgd.step();
    expected -= 0.125 * schedule(i);
    BOOST_TEST(std::abs(p.at({0}) - expected) <= 1e-15);
  }
  BOOST_TEST(sgd.lr() == 1);
}
