#define BOOST_TEST_MODULE optimizer_steps
#include <gradus/optim/adagrad.h>
#include <gradus/optim/adam.h>
#include <gradus/optim/lion.h>
#include <gradus/optim/rmsprop.h>
#include <gradus/optim/sgd.h>
#include <gradus/tensor/runtime.h>

#include <algorithm>
#include <boost/mpl/list.hpp>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <random>

using namespace gradus;
using Scalars = boost::mpl::list<float, double>;

// Each method against its definition, for one element in f64.
namespace {

struct Method {
  std::string name;
  std::function<std::unique_ptr<Optimizer>(std::vector<Tensor>)> make;
  /// Step t = 1, 2, ... of a parameter p with gradient g and moments m, in the order of state().
  std::function<void(double& p, double g, double* m, int t)> define;
};

template <class O, class Options>
auto maker(Options options) {
  return [=](std::vector<Tensor> p) { return std::make_unique<O>(std::move(p), options); };
}

Method sgd(const std::string& name, SgdOptions o) {
  return {name, maker<Sgd>(o), [o](double& p, double g, double* m, int t) {
            double d = (o.maximize ? -g : g) + p * o.weight_decay;
            if (o.momentum != 0) {
              m[0] = t == 1 ? d : m[0] * o.momentum + d * (1 - o.dampening);
              d = o.nesterov ? d + m[0] * o.momentum : m[0];
            }
            p -= d * o.lr;
          }};
}

auto define_adam(const AdamOptions& o, bool decoupled) {
  return [=](double& p, double g, double* m, int t) {
    if (o.maximize) g = -g;
    if (decoupled)
      p -= p * o.lr * o.weight_decay;
    else
      g += p * o.weight_decay;
    m[0] = m[0] * o.beta1 + g * (1 - o.beta1);
    m[1] = m[1] * o.beta2 + g * g * (1 - o.beta2);
    m[2] = std::max(m[2], m[1]);
    const double mean = m[0] / (1 - std::pow(o.beta1, t)),
                 square = m[o.amsgrad ? 2 : 1] / (1 - std::pow(o.beta2, t));
    p -= o.lr * mean / (std::sqrt(square) + o.eps);
  };
}
Method adam(const std::string& name, AdamOptions o) {
  return {name, maker<Adam>(o), define_adam(o, false)};
}
Method adamw(const std::string& name, AdamWOptions o) {
  const AdamOptions options{o.lr, o.beta1, o.beta2, o.eps, o.weight_decay, o.amsgrad, o.maximize};
  return {name, maker<AdamW>(o), define_adam(options, true)};
}

Method rmsprop(const std::string& name, RmspropOptions o) {
  return {name, maker<Rmsprop>(o), [o](double& p, double g, double* m, int) {
            double& buffer = m[1];
            double& mean = m[o.momentum > 0 ? 2 : 1];
            const double d = (o.maximize ? -g : g) + p * o.weight_decay;
            m[0] = m[0] * o.alpha + d * d * (1 - o.alpha);
            double square = m[0];
            if (o.centered) {
              mean = mean * o.alpha + d * (1 - o.alpha);
              square -= mean * mean;
            }
            double u = d / (std::sqrt(square) + o.eps);
            if (o.momentum > 0) u = buffer = buffer * o.momentum + u;
            p -= u * o.lr;
          }};
}

Method adagrad(const std::string& name, AdagradOptions o) {
  return {name, maker<Adagrad>(o), [o](double& p, double g, double* m, int t) {
            const double d = (o.maximize ? -g : g) + p * o.weight_decay;
            if (t == 1) m[0] = o.initial_accumulator_value;
            m[0] += d * d;
            p -= o.lr / (1 + (t - 1) * o.lr_decay) * d / (std::sqrt(m[0]) + o.eps);
          }};
}

// Chen et al. 2023, algorithm 2.
Method lion(const std::string& name, LionOptions o) {
  return {name, maker<Lion>(o), [o](double& p, double g, double* m, int) {
            const double c = o.beta1 * m[0] + (1 - o.beta1) * g;
            p -= o.lr * ((c > 0) - (c < 0) + o.weight_decay * p);
            m[0] = o.beta2 * m[0] + (1 - o.beta2) * g;
          }};
}

const Method kMethods[] = {
    sgd("sgd, maximize", {.lr = 0.1, .momentum = 0.9, .weight_decay = 0.05, .maximize = true}),
    adam("amsgrad", {.lr = 0.1, .beta1 = 0.75, .beta2 = 0.5, .eps = 1e-3, .amsgrad = true}),
    adam("adam, maximize",
         {.lr = 0.1, .beta1 = 0.75, .beta2 = 0.9375, .eps = 1e-3, .maximize = true}),
    adamw("adamw, amsgrad, maximize", {.lr = 0.1,
                                       .beta1 = 0.75,
                                       .beta2 = 0.5,
                                       .eps = 1e-3,
                                       .weight_decay = 0.05,
                                       .amsgrad = true,
                                       .maximize = true}),
    rmsprop("rmsprop, maximize",
            {.lr = 0.1, .alpha = 0.875, .eps = 1e-3, .weight_decay = 0.05, .maximize = true}),
    adagrad("adagrad", {.lr = 0.1, .eps = 1e-3}),
    adagrad("adagrad, all", {.lr = 0.1,
                             .lr_decay = 0.25,
                             .weight_decay = 0.05,
                             .initial_accumulator_value = 0.5,
                             .eps = 1e-3,
                             .maximize = true}),
    lion("lion", {.lr = 0.1, .beta1 = 0.75, .beta2 = 0.9375}),
    lion("lion, decay", {.lr = 0.1, .beta1 = 0.75, .beta2 = 0.9375, .weight_decay = 0.05}),
    sgd("sgd", {.lr = 0.1, .weight_decay = 0.05}),
    sgd("momentum", {.lr = 0.1, .momentum = 0.9, .weight_decay = 0.05}),
    sgd("dampening", {.lr = 0.1, .momentum = 0.9, .dampening = 0.25, .weight_decay = 0.05}),
    sgd("nesterov", {.lr = 0.1, .momentum = 0.9, .weight_decay = 0.05, .nesterov = true}),
    adam("adam", {.lr = 0.1, .beta1 = 0.75, .beta2 = 0.9375, .eps = 1e-3}),
    adam("adam, decay",
         {.lr = 0.1, .beta1 = 0.75, .beta2 = 0.9375, .eps = 1e-3, .weight_decay = 0.05}),
    adamw("adamw", {.lr = 0.1, .beta1 = 0.75, .beta2 = 0.9375, .eps = 1e-3, .weight_decay = 0.05}),
    adamw("adamw, no decay",
          {.lr = 0.1, .beta1 = 0.75, .beta2 = 0.9375, .eps = 1e-3, .weight_decay = 0}),
    rmsprop("rmsprop", {.lr = 0.1, .alpha = 0.875, .eps = 1e-3, .weight_decay = 0.05}),
    rmsprop("centered",
            {.lr = 0.1, .alpha = 0.875, .eps = 1e-3, .weight_decay = 0.05, .centered = true}),
    rmsprop("rmsprop, momentum",
            {.lr = 0.1, .alpha = 0.875, .eps = 1e-3, .weight_decay = 0.05, .momentum = 0.75}),
    rmsprop("centered, momentum", {.lr = 0.1,
                                   .alpha = 0.875,
                                   .eps = 1e-3,
                                   .weight_decay = 0.05,
                                   .momentum = 0.75,
                                   .centered = true})};

constexpr int kSteps = 3;

template <class T>
Tensor random(int64_t n, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  Tensor x = empty({n}, dtype_of<T>);
  for (int64_t i = 0; i < n; ++i) x.mutable_data<T>()[i] = normal(generator);  // the same in both
  return x;
}

/// The parameter and then its moments, after all steps.
template <class T>
std::vector<Tensor> run(const Method& method, int64_t n) {
  Tensor p = random<T>(n, 1).set_requires_grad();
  const auto optimizer = method.make({p});
  for (int t = 1; t <= kSteps; ++t) {
    p.set_grad(random<T>(n, 1 + static_cast<unsigned>(t)));
    optimizer->step();
  }
  std::vector<Tensor> result{p};
  for (const auto& [name, value] : optimizer->state())
    if (name.starts_with("0.0.") && name != "0.0.step") result.push_back(value);
  return result;
}

/// Within `bound` epsilons of |exact| + 1, which is more than any of the values added up.
template <class T>
void check_close(const std::vector<Tensor>& values, const Method& method, int64_t n, double bound) {
  const Tensor p = random<double>(n, 1);
  std::vector<Tensor> gradients;
  for (int t = 1; t <= kSteps; ++t)
    gradients.push_back(random<double>(n, 1 + static_cast<unsigned>(t)));
  BOOST_TEST_REQUIRE(values.size() <= 4u);
  double worst = 0;
  for (int64_t i = 0; i < n; ++i) {
    double exact[4] = {p.data<double>()[i]};
    for (int t = 1; t <= kSteps; ++t)
      method.define(exact[0], gradients[static_cast<size_t>(t - 1)].data<double>()[i], exact + 1,
                    t);
    for (size_t k = 0; k < values.size(); ++k) {
      const auto value = static_cast<double>(values[k].data<T>()[i]);
      const double error = std::abs(value - exact[k]) / (std::abs(exact[k]) + 1);
      worst = std::isnan(error) ? std::numeric_limits<double>::infinity() : std::max(worst, error);
    }
  }
  BOOST_TEST(worst / static_cast<double>(std::numeric_limits<T>::epsilon()) <= bound);
}

}  // namespace

BOOST_AUTO_TEST_CASE_TEMPLATE(steps_are_their_definitions, T, Scalars) {
  for (const Method& method : kMethods)
    for (int64_t n : {0, 1, 7, 16, 33, 131}) BOOST_TEST_CONTEXT(method.name << " n " << n)
  check_close<T>(run<T>(method, n), method, n, 32);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(steps_are_the_same_on_any_number_of_threads, T, Scalars) {
  const int64_t n = 40001;
  for (const Method& method : kMethods) {
    BOOST_TEST_CONTEXT(method.name) {
      set_threads(1);
      const std::vector<Tensor> one = run<T>(method, n);
      check_close<T>(one, method, n, 128);
      for (int count : {2, 3}) {
        set_threads(count);
        const std::vector<Tensor> values = run<T>(method, n);
        for (size_t k = 0; k < one.size(); ++k)
          BOOST_TEST(std::memcmp(values[k].bytes(), one[k].bytes(), n * sizeof(T)) == 0);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(lion_stands_still_at_0_and_hides_no_nan) {
  Tensor p = Tensor::of({1, 2}).set_requires_grad();
  p.set_grad(Tensor::of({0, std::numeric_limits<double>::quiet_NaN()}));
  Lion({p}, {.lr = 0.5}).step();
  BOOST_TEST(p.to_vector<double>()[0] == 1);
  BOOST_TEST(std::isnan(p.to_vector<double>()[1]));
}

BOOST_AUTO_TEST_CASE(a_gradient_that_does_not_change_keeps_centered_rmsprop_finite) {
  Tensor p = zeros({4}).set_requires_grad();
  p.set_grad(Tensor::of({0.1, 1.3, -7.77, 1e-3}));
  Rmsprop rmsprop({p}, {.lr = 1e-6, .alpha = 0.9, .eps = 1e-3, .centered = true});
  for (int t = 0; t < 3000; ++t) rmsprop.step();
  for (double x : p.to_vector<double>()) BOOST_TEST(std::isfinite(x));
}
