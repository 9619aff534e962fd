#define BOOST_TEST_MODULE whole_modules
#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/gradcheck/samples.h>
#include <gradus/layers/module.h>

#include "tests/checks.h"
#include "tests/module_state.h"

using namespace gradus;
using test::print;
using test::says;

// What holds of every module, tried on all samples: gradcheck/samples.h.
namespace {

template <class F>
void for_each_sample(F f) {
  size_t count = 0;
  for (const ModuleSamples* row : all_module_samples())
    for (const ModuleSample& s : row->make()) {
      BOOST_TEST_CONTEXT(row->name << " " << s.label) { f(s); }
      ++count;
    }
  BOOST_TEST(count > 30u);
}

/// A model around a sample whose last layer refuses what the sample gives.
class Refusing : public UnaryModule {
 public:
  explicit Refusing(const ModuleSample& inner) : inner_(inner) {}
  Tensor forward(const Tensor&) override {
    inner_.forward(inner_.inputs);
    inner_.forward(inner_.inputs);
    fail("refused");
  }
  void visit(Visitor& visitor) override { visitor.module("inner", *inner_.module); }
  std::string describe() const override { return "Refusing"; }

 private:
  const ModuleSample& inner_;
};

}  // namespace

BOOST_AUTO_TEST_CASE(a_refused_forward_changes_nothing) {
  for_each_sample([](const ModuleSample& s) {
    Refusing model(s);
    for (bool training : {true, false}) {
      model.train(training);
      const std::string before = print(model);
      BOOST_CHECK_EXCEPTION(model(ones({1})), Error, says("refused"));
      BOOST_TEST(print(model) == before);
    }
  });
}

BOOST_AUTO_TEST_CASE(a_parameter_that_nobody_has_is_named) {
  Parameter known({1}, Init::ones(), DType::f64);
  known.set_parameter_state(ParameterState::shown);
  for_each_sample([&](const ModuleSample& s) {
    const NamedTensors parameters = s.module->named_parameters();
    for (const auto& [path, parameter] : parameters) {
      BOOST_TEST(parameter.name() == path);
      BOOST_TEST((parameter.parameter_state() == ParameterState::shown));
      Tensor hidden = parameter;
      hidden.set_parameter_state(ParameterState::hidden);
      Tape tape;
      const Tensor loss = sum(s.forward(s.inputs)) + sum(known);
      BOOST_CHECK_EXCEPTION(tape.backward(loss + sum(parameter)), Error,
                            says("backward: parameter " + path + " "));
      for (const auto& [other, x] : parameters) BOOST_TEST(!x.grad(), other);
      hidden.set_parameter_state(ParameterState::shown);
    }
  });
}

BOOST_AUTO_TEST_CASE(every_parameter_is_drawn) {
  for_each_sample([](const ModuleSample& s) {
    for (Tensor parameter : s.module->parameters()) raw::fill(parameter, std::nan(""));
    s.module->initialize(3);
    for (const auto& [path, parameter] : s.module->named_parameters())
      for (double value : parameter.to_vector<double>()) BOOST_TEST(std::isfinite(value), path);
  });
}
