#define BOOST_TEST_MODULE optimizer
#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/inplace.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/optim/adagrad.h>
#include <gradus/optim/adam.h>
#include <gradus/optim/lion.h>
#include <gradus/optim/rmsprop.h>
#include <gradus/optim/schedule.h>
#include <gradus/optim/sgd.h>
#include <gradus/tensor/safetensors.h>

#include <filesystem>
#include <functional>
#include <limits>
#include <memory>

#include "tests/checks.h"
#include "tests/optim/running_mean.h"

using namespace gradus;
using test::check_close;
using test::maker;
using test::RunningMean;
using test::says;
using test::wave;

// What all optimizers share. The update rules themselves are compared with PyTorch's elsewhere.
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

Tensor leaf(std::initializer_list<double> values) {
  return Tensor::of(values, DType::f64).set_requires_grad();
}

const std::pair<const char*, test::MakeOptimizer> kOptimizers[] = {
    {"Sgd", maker<Sgd>(SgdOptions{.lr = 0.1})},
    {"Sgd with momentum", maker<Sgd>(SgdOptions{.lr = 0.1, .momentum = 0.9, .nesterov = true})},
    {"Adam", maker<Adam>(AdamOptions{.lr = 0.1, .weight_decay = 0.01})},
    {"AdamW", maker<AdamW>(AdamWOptions{.lr = 0.1})},
    {"AMSGrad", maker<Adam>(AdamOptions{.lr = 0.1, .amsgrad = true})},
    {"Adagrad", maker<Adagrad>(AdagradOptions{.lr = 0.1, .initial_accumulator_value = 0.1})},
    {"Lion", maker<Lion>(LionOptions{.lr = 0.1, .weight_decay = 0.1})},
    {"Rmsprop", maker<Rmsprop>(RmspropOptions{.lr = 0.1})},
    {"Rmsprop, all", maker<Rmsprop>(RmspropOptions{.lr = 0.1, .momentum = 0.9, .centered = true})},
    {"of ops", maker<RunningMean>()}};

/// Views (3, 4) of a matrix (20, 20), their elements apart.
Tensor lay(const Tensor& memory, int64_t row, int64_t column) {
  const int64_t strides[] = {row, column};
  return as_strided(memory, {3, 4}, strides, 21);
}
const std::pair<const char*, std::function<Tensor(const Tensor&)>> kLayouts[] = {
    {"contiguous", [](const Tensor& x) { return lay(x, 4, 1); }},
    {"a column's", [](const Tensor& x) { return lay(x, 80, 20); }},
    {"transposed", [](const Tensor& x) { return lay(x, 1, 3); }},
    {"every second", [](const Tensor& x) { return lay(x, 40, 2); }},
    {"intertwined", [](const Tensor& x) { return lay(x, 5, 4); }}};

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

namespace {

/// One step of an f32 and an f64 parameter; whether it was refused, and changed nothing.
bool refuses_f32(Optimizer& optimizer, std::span<Tensor> parameters) {
  for (Tensor& p : parameters) p.set_grad(full(p.shape(), 1e-30, p.dtype()));
  const std::string before = print(optimizer, parameters);
  try {
    optimizer.step();
  } catch (const Error& error) {
    const std::string message = error.what();
    BOOST_TEST(message.find("is f32, which does not hold") != std::string::npos, message);
    BOOST_TEST(print(optimizer, parameters) == before);
    parameters[1].set_grad({});  // f64 alone is none's trouble
    optimizer.step();
    return true;
  }
  for (const Tensor& p : parameters) BOOST_TEST(std::isfinite(p.item()), before);
  return false;
}

}  // namespace

// What f32 does not hold would become infinite, or an eps 0, which divides 0 by 0.
BOOST_AUTO_TEST_CASE(numbers_that_a_parameter_s_dtype_does_not_hold_are_errors) {
  const double most = std::numeric_limits<float>::max();
  const auto check_one = [](
                             const test::MakeOptimizer& make, bool refused, const char* what,
                             const std::function<void(Optimizer&)>& change = [](Optimizer&) {}) {
    std::vector<Tensor> parameters{leaf({1}), raw::cast(leaf({1}), DType::f32)};
    parameters[1].set_requires_grad();
    const std::unique_ptr<Optimizer> optimizer = make(parameters);
    change(*optimizer);
    BOOST_TEST(refuses_f32(*optimizer, parameters) == refused, what);
  };
  for (const auto& [name, make] : kOptimizers) {
    check_one(make, true, name, [](Optimizer& o) { o.set_lr(1e40); });
    check_one(make, true, name, [](Optimizer& o) { o.set_lr_factor(1e40); });
    check_one(make, true, name, [](Optimizer& o) {
      o.set_lr(1e30);
      o.set_lr_factor(1e30);
    });
    check_one(make, true, name, [](Optimizer& o) {
      NamedTensors state = o.state();
      for (auto& [path, value] : state)
        if (path == "0.weight_decay") value = full({}, 1e39, DType::f64);
      o.load_state(state);
    });
    check_one(make, false, name, [=](Optimizer& o) { o.set_lr(1e28); });
    check_one(make, false, name, [=](Optimizer& o) { o.set_lr(1e-60); });
  }
  check_one(maker<Sgd>(SgdOptions{.lr = most}), false, "the largest");
  check_one(maker<Sgd>(SgdOptions{.momentum = 1e39}), true, "momentum");
  check_one(maker<Sgd>(SgdOptions{.momentum = 0.5, .dampening = 1e39}), true, "dampening");
  check_one(maker<Rmsprop>(RmspropOptions{.momentum = 1e39}), true, "momentum");
  check_one(maker<Rmsprop>(RmspropOptions{.eps = 1e39}), true, "eps");
  check_one(maker<Rmsprop>(RmspropOptions{.eps = 1e-50}), true, "eps");
  check_one(maker<Adam>(AdamOptions{.eps = 1e39}), true, "eps");
  check_one(maker<Adam>(AdamOptions{.eps = 1e-50}), true, "eps");
  check_one(maker<Adam>(AdamOptions{.lr = 1e37, .beta1 = 0.999, .beta2 = 0.9}), true, "the step");
  check_one(maker<AdamW>(AdamWOptions{.lr = 1e20, .weight_decay = 1e20}), true, "the decay");
  check_one(maker<Adam>(AdamOptions{.lr = 1e20, .weight_decay = 1e20}), false, "no such product");
}

BOOST_AUTO_TEST_CASE(parameters_that_cannot_be_trained_are_errors) {
  const Tensor a = leaf({1, 2}).set_name("fc.weight"), b = leaf({3}), constant = ones({2});
  BOOST_CHECK_EXCEPTION(Sgd(std::vector<Tensor>{}), Error, says("a group without parameters"));
  BOOST_CHECK_EXCEPTION(Sgd({a, b, a}), Error, says("parameter fc.weight (2,) is given twice"));
  BOOST_CHECK_EXCEPTION(Sgd({b, b}), Error, says("parameter (1,) is given twice"));
  BOOST_CHECK_EXCEPTION(Sgd({a, constant}), Error, says("(2,) does not require a gradient"));
  BOOST_CHECK_EXCEPTION(Sgd({a, Tensor()}), Error, says("a parameter is an empty Tensor"));
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
  BOOST_TEST(sgd.lr(0) == 0.25);
  BOOST_TEST(sgd.base_lr(0) == 0.5);
  BOOST_TEST(sgd.lr(1) == 0);
  BOOST_CHECK_EXCEPTION(sgd.lr(2), Error, says("group 2 of 2"));
  BOOST_CHECK_EXCEPTION(sgd.set_lr(1, 2), Error, says("group 2 of 2"));
}

// What a group does not name is the method's, also in groups that come later.
BOOST_AUTO_TEST_CASE(groups_are_given_at_once) {
  Tensor a = leaf({1}), b = leaf({1}), c = leaf({1});
  Sgd sgd(std::vector<ParameterGroup>{{.parameters = {a}, .weight_decay = 0},
                                      {.parameters = {b}, .lr = 0.25}},
          {.lr = 0.5, .weight_decay = 1});
  sgd.add_group({.parameters = {c}});
  for (Tensor* p : {&a, &b, &c}) p->set_grad(ones({1}, DType::f64));
  sgd.step();
  check_close("a, b, c", stack({a, b, c}), {0.5, 0.5, 0}, 1e-15);
  BOOST_CHECK_EXCEPTION(Sgd(std::vector<ParameterGroup>{}), Error, says("no group of parameters"));
  BOOST_CHECK_EXCEPTION(Adam(std::vector<ParameterGroup>{{.parameters = {leaf({1})}}, {}}), Error,
                        says("a group without parameters"));
  BOOST_CHECK_EXCEPTION(RunningMean({leaf({1})}).add_group({.parameters = {leaf({1})}}), Error,
                        says("a group without a learning rate"));
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

// Wherever their elements lie, and wherever the gradient's do, and nothing beside them is touched.
BOOST_AUTO_TEST_CASE(parameters_and_gradients_of_any_strides_are_stepped_alike) {
  for (DType dtype : {DType::f32, DType::f64}) {
    for (const auto& [name, make] : kOptimizers) {
      for (const auto& [what, lay] : kLayouts) {
        for (const auto& [gradient_what, lay_gradient] : kLayouts) {
          BOOST_TEST_CONTEXT(name << ", parameter " << what << ", gradient " << gradient_what) {
            const Tensor values = raw::cast(wave({3, 4}, 1, 0.7), dtype);
            Tensor memory = raw::cast(wave({20, 20}, 5, 0.3), dtype), before = raw::clone(memory);
            Tensor p = lay(memory), q = raw::clone(values).set_requires_grad();
            raw::copy(values, p);
            p.set_requires_grad();
            const auto of_view = make({p}), of_copy = make({q});
            for (int t = 0; t < 3; ++t) {
              const Tensor g = raw::cast(wave({3, 4}, 1, 0.4 + t), dtype);
              Tensor room = zeros({20, 20}, dtype), strided = lay_gradient(room);
              raw::copy(g, strided);
              p.set_grad(strided);
              q.set_grad(g);
              of_view->step();
              of_copy->step();
            }
            BOOST_TEST(fmt::format("{:.17}", p) == fmt::format("{:.17}", q));
            Tensor place = lay(before);
            raw::copy(p, place);
            BOOST_TEST(fmt::format("{:.17}", memory) == fmt::format("{:.17}", before));
          }
        }
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(a_gradient_of_repeated_elements_is_as_good_as_a_copy) {
  for (const auto& [name, make] : kOptimizers) {
    std::vector p{wave({3, 4}, 1, 0.7).set_requires_grad()},
        q{raw::clone(p[0]).set_requires_grad()};
    const int64_t window[] = {1, 1};
    for (const Tensor& g : {raw::expand(wave({4}, 1, 0.3), {3, 4}),
                            as_strided(wave({6}, 1, 0.3), {3, 4}, window, 0)}) {
      p[0].set_grad(g);
      q[0].set_grad(raw::clone(g));
      make(p)->step();
      make(q)->step();
      check_close(name, p[0], q[0].to_vector<double>(), 0);
    }
  }
}

// After a parameter that could be stepped.
BOOST_AUTO_TEST_CASE(a_parameter_whose_elements_share_memory_is_an_error_that_changes_nothing) {
  const int64_t window[] = {1, 1};
  for (const auto& [name, make] : kOptimizers) {
    for (const Tensor& shared : {raw::expand(wave({4}, 1, 0.3), {3, 4}),
                                 as_strided(wave({6}, 1, 0.3), {3, 4}, window, 0)}) {
      BOOST_TEST_CONTEXT(name) {
        std::vector p{leaf({1, 2}), Tensor(shared).set_requires_grad().set_name("tied")};
        const auto optimizer = make(p);
        for (Tensor& x : p) x.set_grad(ones_like(x));
        const std::string before = print(*optimizer, p);
        BOOST_CHECK_EXCEPTION(optimizer->step(), Error, says("tied (3, 4) f64"));
        BOOST_TEST(print(*optimizer, p) == before);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(parameters_may_lie_in_one_block_but_not_in_each_other) {
  const Tensor block = wave({4, 3}, 1, 0.3);
  const auto column = [&](int64_t i) { return select(block, 1, i).set_requires_grad(); };
  std::vector apart{column(0), column(1), column(2)};
  Sgd sgd(apart, {.lr = 1});
  for (Tensor& x : apart) x.set_grad(raw::clone(x));
  sgd.step();
  check_close("all", block, std::vector<double>(12, 0), 0);
  const Tensor rows = slice(block, 0, 1, 3).set_requires_grad().set_name("rows");
  BOOST_CHECK_EXCEPTION(Sgd({column(0), rows}), Error, says("rows (2, 3) shares memory"));
  BOOST_CHECK_EXCEPTION(sgd.add_group({{rows}, 0.1}), Error, says("rows (2, 3) shares memory"));
}

BOOST_AUTO_TEST_CASE(another_shape_after_the_first_step_is_an_error_that_changes_nothing) {
  for (const auto& [name, make] : kOptimizers) {
    BOOST_TEST_CONTEXT(name) {
      std::vector p{leaf({1, 2}), leaf({3, 4}).set_name("fc.weight")};
      const auto optimizer = make(p);
      step(*optimizer, p, 0);
      const Tensor own = raw::clone(p[1]);
      const auto lay = [&](const Tensor& data) {
        p[1].set_data(data);
        for (Tensor& x : p) x.set_grad(ones_like(x));
      };
      lay(own);
      const std::string before = print(*optimizer, p);
      lay(ones({2, 1}, DType::f64));
      if (before.find("0.1.") == before.rfind("0.1.")) {  // no moments: nothing to be wrong
        optimizer->step();
        BOOST_TEST(print(*optimizer, p) != before);
        continue;
      }
      for (const auto& use : {+[](Optimizer& o) { o.step(); }, +[](Optimizer& o) { o.state(); }})
        BOOST_CHECK_EXCEPTION(use(*optimizer), Error,
                              says("parameter fc.weight is (2, 1), but was (2,)"));
      lay(own);
      BOOST_TEST(print(*optimizer, p) == before);
      step(*optimizer, p, 1);
      BOOST_TEST(print(*optimizer, p) != before);
    }
  }
}

// Whatever a parameter is given between two steps that could be done in place.
BOOST_AUTO_TEST_CASE(other_data_between_steps_are_stepped_as_a_copy_of_them_is) {
  for (const auto& [name, make] : kOptimizers) {
    for (const auto& [what, lay] : kLayouts) {
      BOOST_TEST_CONTEXT(name << ", " << what) {
        std::vector p{wave({3, 4}, 1, 0.7).set_requires_grad()},
            q{raw::clone(p[0]).set_requires_grad()};
        const auto of_view = make(p), of_copy = make(q);
        for (int t = 0; t < 8; ++t) {
          if (t == 3) p[0].set_data(lay(wave({20, 20}, 5, 0.3)));
          if (t == 5) p[0].set_data(raw::contiguous(p[0]));
          if (t == 3) q[0].set_data(raw::clone(p[0]));
          if (t == 7)
            for (Tensor& x : {std::ref(p[0]), std::ref(q[0])}) x.set_data(raw::cast(x, DType::f32));
          p[0].set_grad(raw::clone(p[0]));
          q[0].set_grad(raw::clone(q[0]));
          of_view->step();
          of_copy->step();
        }
        BOOST_TEST(fmt::format("{:.9}", p[0]) == fmt::format("{:.9}", q[0]));
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(an_update_that_fails_leaves_all_parameters_as_they_were) {
  class Failing : public RunningMean {
   public:
    using RunningMean::RunningMean;
    int until = 100;

   protected:
    void update(const Update& u) override {
      RunningMean::update(u);
      if (--until == 0) throw std::runtime_error("no more");
      if (until < 0) u.parameter = ones({7});
    }
  };
  std::vector p{leaf({1, 2}), leaf({3}), leaf({4, 5, 6}).set_name("last")};
  Failing failing(p);
  step(failing, p, 0);
  const std::string before = print(failing, p);
  for (int k : {1, 2, 3}) {
    failing.until = k;
    BOOST_CHECK_THROW(failing.step(), std::runtime_error);
    BOOST_TEST(print(failing, p) == before);
  }
  BOOST_CHECK_EXCEPTION(failing.step(), Error, says("its update made (7,) f32 of parameter"));
  BOOST_TEST(print(failing, p) == before);
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

// Rates, factor and constants come with it, whatever they were where it is loaded; with them the
// moments that they ask for.
BOOST_AUTO_TEST_CASE(a_state_brings_its_rates_and_constants) {
  const std::tuple<const char*, test::MakeOptimizer, test::MakeOptimizer> cases[] = {
      {"Sgd", maker<Sgd>(SgdOptions{.lr = 0.3, .momentum = 0.8, .dampening = 0.1}),
       maker<Sgd>(SgdOptions{})},
      {"Sgd without", maker<Sgd>(SgdOptions{.lr = 0.3}),
       maker<Sgd>(SgdOptions{.momentum = 0.8, .nesterov = true})},
      {"Adam",
       maker<Adam>(
           AdamOptions{.lr = 0.3, .beta1 = 0.5, .beta2 = 0.6, .eps = 0.1, .weight_decay = 1}),
       maker<Adam>(AdamOptions{})},
      {"AdamW", maker<AdamW>(AdamWOptions{.lr = 0.3, .beta1 = 0.5, .beta2 = 0.6, .eps = 0.1}),
       maker<AdamW>(AdamWOptions{})},
      {"AMSGrad", maker<Adam>(AdamOptions{.amsgrad = true, .maximize = true}),
       maker<Adam>(AdamOptions{})},
      {"no AMSGrad", maker<Adam>(AdamOptions{}), maker<Adam>(AdamOptions{.amsgrad = true})},
      {"Adagrad",
       maker<Adagrad>(AdagradOptions{
           .lr_decay = 0.5, .initial_accumulator_value = 1, .eps = 0.1, .maximize = true}),
       maker<Adagrad>(AdagradOptions{})},
      {"Lion", maker<Lion>(LionOptions{.beta1 = 0.5, .beta2 = 0.6}), maker<Lion>(LionOptions{})},
      {"Rmsprop",
       maker<Rmsprop>(RmspropOptions{.alpha = 0.5, .eps = 0.1, .momentum = 0.6, .centered = true}),
       maker<Rmsprop>(RmspropOptions{})}};
  for (const auto& [name, make, make_other] : cases) {
    BOOST_TEST_CONTEXT(name) {
      std::vector p{wave({3, 2}, 1, 0.7).set_requires_grad(), leaf({0.5})};
      const auto optimizer = make({p[0]});
      optimizer->add_group({{p[1]}, 0.05, 0.1});
      optimizer->set_lr_factor(0.25);
      for (int i = 0; i < 3; ++i) step(*optimizer, p, i);
      std::vector<Tensor> q;
      for (const Tensor& x : p) q.push_back(raw::clone(x).set_requires_grad());
      const auto resumed = make_other({q[0]});
      resumed->add_group({{q[1]}, 0.7});
      step(*resumed, q, 9);
      for (size_t i = 0; i < q.size(); ++i) raw::copy(p[i], q[i]);
      resumed->load_state(optimizer->state());
      BOOST_TEST(resumed->base_lr(1) == 0.05);
      for (int i = 3; i < 6; ++i) {
        step(*optimizer, p, i);
        step(*resumed, q, i);
      }
      BOOST_TEST(print(*optimizer, p) == print(*resumed, q));
    }
  }
}

// A state that was saved before a method had a switch is one with the switch off.
BOOST_AUTO_TEST_CASE(an_older_state_means_the_constants_defaults) {
  const std::pair<test::MakeOptimizer, test::MakeOptimizer> cases[] = {
      {maker<Sgd>(SgdOptions{.momentum = 0.9}), maker<Sgd>(SgdOptions{.maximize = true})},
      {maker<Adam>(AdamOptions{}), maker<Adam>(AdamOptions{.amsgrad = true, .maximize = true})},
      {maker<AdamW>(AdamWOptions{}), maker<AdamW>(AdamWOptions{.amsgrad = true, .maximize = true})},
      {maker<Rmsprop>(RmspropOptions{}), maker<Rmsprop>(RmspropOptions{.maximize = true})}};
  for (const auto& [make, make_other] : cases) {
    std::vector p{leaf({1, 2})}, q{leaf({1, 2})};
    const auto optimizer = make(p), resumed = make_other(q);
    step(*optimizer, p, 0);
    raw::copy(p[0], q[0]);
    NamedTensors state = optimizer->state();
    const size_t all = state.size();
    std::erase_if(state, [](const auto& value) {
      return value.first.ends_with(".amsgrad") || value.first.ends_with(".maximize");
    });
    BOOST_TEST(state.size() < all);
    resumed->load_state(state);
    step(*optimizer, p, 1);
    step(*resumed, q, 1);
    BOOST_TEST(print(*optimizer, p) == print(*resumed, q));
    state.pop_back();
    BOOST_CHECK_EXCEPTION(resumed->load_state(state), Error, says("no value for"));
  }
}

BOOST_AUTO_TEST_CASE(another_methods_state_is_refused) {
  for (const auto& [name, make] : kOptimizers) {
    for (const auto& [other_name, make_other] : kOptimizers) {
      std::vector p{leaf({1, 2})}, q{leaf({3, 4})};
      const auto optimizer = make(p), other = make_other(q);
      step(*optimizer, p, 0);
      step(*other, q, 1);
      const auto method = [](const NamedTensors& state) {
        return state[0].first.substr(0, state[0].first.find('.'));
      };
      const std::string mine = method(optimizer->state()), its = method(other->state());
      if (mine == its) continue;
      const std::string before = print(*optimizer, p);
      BOOST_CHECK_EXCEPTION(optimizer->load_state(other->state()), Error,
                            says(fmt::format("{}: the state is of {}, another", mine, its)));
      BOOST_TEST(print(*optimizer, p) == before);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_loaded_state_is_a_copy) {
  std::vector p{leaf({1, 2})}, q{leaf({1, 2})};
  Adam adam(p), other(q);
  step(adam, p, 0);
  const auto state = adam.state();
  other.load_state(state);
  step(adam, p, 1);
  BOOST_TEST(print(other, q) != print(adam, q));
  const std::string before = print(other, q);
  for (auto& [name, value] : other.state()) raw::fill(value, 7);
  BOOST_TEST(print(other, q) == before);
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
  const auto number = [](double x) { return full({}, x, DType::f64); };
  State twice = good;
  twice.push_back(good.back());
  State further = good;
  further.emplace_back("1.0.step", full({}, 1, DType::i64));
  std::vector r{leaf({4, 5}), leaf({6})};
  Sgd plain(r);
  step(plain, r, 0);
  const std::tuple<const char*, State, const char*> cases[] = {
      {"no step", without("0.1.step"), "no value for 0.1.step"},
      {"no factor", without("Adam.lr_factor"), "no value for Adam.lr_factor"},
      {"no constant", without("Adam.beta2"), "no value for Adam.beta2"},
      {"no rate", without("0.lr"), "no value for 0.lr"},
      {"a factor below 0", with("Adam.lr_factor", number(-1)), "factor is -1"},
      {"a constant that is none", with("Adam.beta2", number(1)), "betas 0.9 and 1"},
      {"a constant of another dtype", with("Adam.beta2", full({}, 0.5)), "beta2 is () f32"},
      {"a rate that is none", with("0.lr", number(kNan)), "the learning rate is nan"},
      {"a name twice", twice, "a name is given twice"},
      {"no moment", without("0.1.exp_avg_sq"), "no value for 0.1.exp_avg_sq"},
      {"of another method", plain.state(), "Adam: the state is of Sgd"},
      {"further", further, "1 of 15 given values belong to no parameter"},
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

// A root is drawn of it: one that is negative would make NaN of a parameter. NaN and infinity are
// what a training that diverged leaves.
BOOST_AUTO_TEST_CASE(a_negative_mean_of_squares_is_refused) {
  Tensor a = leaf({1, 2}), b = leaf({3, 4});
  a.set_grad(ones({2}, DType::f64));
  b.set_grad(ones({2}, DType::f64));
  Adam adam({a}, {});
  AdamW adam_w({a}, {});
  Adam amsgrad({a}, {.amsgrad = true});
  Adagrad adagrad({a});
  Rmsprop rmsprop({b}, {.momentum = 0.9, .centered = true});
  for (Optimizer* optimizer :
       std::initializer_list<Optimizer*>{&adam, &adam_w, &rmsprop, &amsgrad, &adagrad}) {
    optimizer->step();
    const NamedTensors good = optimizer->state();
    const auto with = [&](size_t i, double value) {
      NamedTensors state = good;
      state[i].second = raw::clone(state[i].second);
      state[i].second.mutable_data<double>()[1] = value;
      return state;
    };
    int refused = 0;
    for (size_t i = 0; i < good.size(); ++i) {
      const auto& [name, values] = good[i];
      if (values.ndim() != 1) continue;
      const bool squares =
          name.ends_with("exp_avg_sq") || name.ends_with("square_avg") || name.ends_with("sum");
      for (const double value : {-1e-300, -2.0, -HUGE_VAL}) {
        if (squares)
          BOOST_CHECK_EXCEPTION(
              optimizer->load_state(with(i, value)), Error,
              says(fmt::format("{} (2,) is made of squares, and one of its values "
                               "is {}",
                               name, value)));
        else
          optimizer->load_state(with(i, value));
      }
      for (const double value : {0.0, -0.0, double{NAN}, HUGE_VAL})
        optimizer->load_state(with(i, value));
      refused += squares;
    }
    BOOST_TEST(refused == (optimizer == &amsgrad ? 2 : 1));
  }
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

// A norm that f64 holds, though it may not hold its square; and gradients that T holds, though it
// may not hold max_norm / norm.
BOOST_AUTO_TEST_CASE(clipping_is_right_over_the_whole_range) {
  for (DType dtype : {DType::f64, DType::f32}) {
    const double eps = dtype == DType::f64 ? 0x1p-52 : 0x1p-23;
    const double smallest = dtype == DType::f64 ? 0x1p-1074 : 0x1p-149;
    for (double size : {1e-323, 1e-320, 1e-310, 1e-200, 1e-162, 1e-154, 1e-150, 1e-44, 1e-38, 1e-30,
                        1.0, 1e20, 1e38, 1e150, 1e154, 1e160, 1e200, 1e307}) {
      for (double max_norm : {1e-300, 1e-40, 1e-6, 1.0, 1e30, 1e300}) {
        BOOST_TEST_CONTEXT(name(dtype) << " of size " << size << " to " << max_norm) {
          const Tensor g =
              raw::cast(Tensor::of({3 * size, -4 * size, 0, 12 * size}, DType::f64), dtype);
          const std::vector<double> before = g.to_vector<double>();
          if (!std::isfinite(before[3])) continue;
          long double square = 0;
          for (double x : before) square += static_cast<long double>(x) * x;
          const auto norm = static_cast<double>(std::sqrt(square));
          Tensor p = zeros({4}, dtype).set_requires_grad();
          p.set_grad(raw::clone(g));
          const double found = clip_grad_norm(std::vector{p}, max_norm);
          BOOST_TEST(std::abs(found - norm) <= 4 * 0x1p-52 * norm + 0x1p-1074);
          const std::vector<double> after = p.grad().to_vector<double>();
          for (size_t k = 0; k < 4; ++k) {
            const long double expected =
                norm > max_norm ? before[k] / std::sqrt(square) * max_norm : before[k];
            BOOST_TEST(std::abs(after[k] - expected) <= 4 * eps * std::abs(expected) + smallest);
          }
        }
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(a_parameter_that_is_clipped_twice_is_an_error_that_changes_nothing) {
  Tensor a = leaf({0, 0}).set_name("fc.weight"), b = leaf({0});
  a.set_grad(Tensor::of({3, 4}, DType::f64));
  b.set_grad(Tensor::of({12}, DType::f64));
  BOOST_CHECK_EXCEPTION(clip_grad_norm(std::vector{a, b, a}, 1), Error,
                        says("clip_grad_norm: parameter fc.weight (2,) is given twice"));
  BOOST_CHECK_EXCEPTION(clip_grad_norm(std::vector{a, Tensor()}, 1), Error,
                        says("parameter 1 is an empty Tensor"));
  check_close("a", a.grad(), {3, 4}, 0);
}

// Each parameter's gradient counts, and none is scaled twice.
BOOST_AUTO_TEST_CASE(gradients_that_share_memory_are_clipped_as_copies_are) {
  Tensor a = leaf({0, 0}), b = leaf({0, 0}), c = leaf({0});
  const Tensor g = Tensor::of({2, 4, 5}, DType::f64);
  a.set_grad(slice(g, 0, 0, 2));
  b.set_grad(slice(g, 0, 1, 3));
  c.set_grad(slice(g, 0, 2, 3));
  const double norm = std::sqrt(2 * 2 + 4 * 4 + 4 * 4 + 5 * 5 + 5 * 5);
  BOOST_TEST(clip_grad_norm(std::vector{a, b, c}, 1) == norm);
  check_close("a", a.grad(), {2 / norm, 4 / norm}, 1e-15);
  check_close("b", b.grad(), {4 / norm, 5 / norm}, 1e-15);
  check_close("c", c.grad(), {5 / norm}, 1e-15);
}

// As torch.nn.utils.clip_grad_value_, which clamps.
BOOST_AUTO_TEST_CASE(clipping_by_value_clamps_each_element) {
  Tensor a = leaf({0, 0, 0, 0, 0}).set_name("a"), b = leaf({0, 0}).set_name("b"), c = leaf({1});
  a.set_grad(Tensor::of({3, -4, 0.5, kNan, -kInf}, DType::f64));
  b.set_grad(expand(Tensor::of({9}, DType::f64), {2}));  // one element, seen twice
  clip_grad_value(std::vector{a, b, c}, 2);
  BOOST_TEST(std::isnan(a.grad().at({3})));
  check_close("a", slice(a.grad(), 0, 0, 3), {2, -2, 0.5}, 0);
  BOOST_TEST(a.grad().at({4}) == -2);
  check_close("b", b.grad(), {2, 2}, 0);
  BOOST_TEST(!c.grad());
  BOOST_CHECK_EXCEPTION(clip_grad_value(std::vector{a}, 0), Error, says("clip_value is 0"));
  BOOST_CHECK_EXCEPTION(clip_grad_value(std::vector{a}, kNan), Error, says("clip_value is nan"));
  BOOST_CHECK_EXCEPTION(clip_grad_value(std::vector{a, b, a}, 1), Error,
                        says("clip_grad_value: parameter a (5,) is given twice"));
}

BOOST_AUTO_TEST_CASE(norms_of_gradients_have_their_parameters_names) {
  Tensor a = leaf({0, 0}).set_name("a"), b = leaf({0}).set_name("b"), c = leaf({1});
  a.set_grad(Tensor::of({3, -4}, DType::f64));
  c.set_grad(Tensor::of({1e200}, DType::f64));
  const auto norms = grad_norms(std::vector{a, b, c});
  BOOST_REQUIRE(norms.size() == 2u);
  BOOST_TEST(norms[0].first == "a");
  BOOST_TEST(norms[0].second == 5);
  BOOST_TEST(norms[1].first == "");
  BOOST_TEST(norms[1].second == 1e200);
}

// As PyTorch has it: max_norm / inf is 0, and what NaN is multiplied with is NaN.
BOOST_AUTO_TEST_CASE(a_norm_that_is_not_finite_is_returned_where_it_is_no_error) {
  for (double bad : {kNan, kInf, -kInf}) {
    Tensor a = leaf({0, 0}), b = leaf({0});
    a.set_grad(Tensor::of({30, 40}, DType::f64));
    b.set_grad(Tensor::of({bad}, DType::f64));
    const double norm = clip_grad_norm(std::vector{a, b}, 1, {.error_if_nonfinite = false});
    BOOST_TEST((std::isnan(bad) ? std::isnan(norm) : norm == kInf));
    BOOST_TEST(std::isnan(b.grad().item()));
    for (double x : a.grad().to_vector<double>())
      BOOST_TEST((std::isnan(bad) ? std::isnan(x) : x == 0));
  }
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
  BOOST_CHECK_EXCEPTION(cosine_schedule(5, 1.5), Error, says("cosine_schedule: it ends at 1.5"));
  BOOST_CHECK_EXCEPTION(warmup_schedule(-1), Error, says("warmup_schedule: -1 steps"));
}

BOOST_AUTO_TEST_CASE(a_schedule_s_factor_multiplies_the_rate) {
  Tensor p = leaf({1});
  Sgd sgd({p}, {.lr = 1});
  const Schedule schedule = warmup_schedule(2, cosine_schedule(2));
  double expected = 1;
  for (int64_t i = 0; i < 5; ++i) {
    sgd.set_lr_factor(schedule(i));
    BOOST_TEST(sgd.lr() == schedule(i));
    p.set_grad(full({1}, 0.125, DType::f64));
    sgd.step();
    expected -= 0.125 * schedule(i);
    BOOST_TEST(std::abs(p.at({0}) - expected) <= 1e-15);
  }
  BOOST_TEST(sgd.base_lr() == 1);
}
