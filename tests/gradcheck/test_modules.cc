#define BOOST_TEST_MODULE module_gradcheck
#include <gradus/gradcheck/module.h>
#include <gradus/gradcheck/samples.h>
#include <gradus/layers/batch_norm.h>
#include <gradus/layers/dropout.h>
#include <gradus/layers/linear.h>
#include <gradus/layers/sequential.h>
#include <gradus/models/mlp.h>

#include <filesystem>
#include <fstream>
#include <regex>
#include <set>

#include "tests/checks.h"

using namespace gradus;

BOOST_AUTO_TEST_CASE(every_module_is_right_to_second_order) {
  for (const ModuleSamples* row : all_module_samples())
    for (const ModuleSample& s : row->make()) BOOST_TEST_CONTEXT(row->name << ", " << s.label) {
        BOOST_TEST(gradcheck(*s.module, s.forward, s.inputs));
        BOOST_TEST(gradgradcheck(*s.module, s.forward, s.inputs));
      }
}

// The sources are searched for classes that derive from a module.
BOOST_AUTO_TEST_CASE(every_module_has_samples) {
  std::set<std::string> rows,
      abstract{"UnaryModule", "NormModule", "ActivationModule", "RecurrentCell", "ConvModule"};
  for (const ModuleSamples* row : all_module_samples()) rows.insert(row->name);
  const std::regex definition(
      "(?:class|struct) (\\w+) (?:final )?: (?:public )?(?:Module|UnaryModule|NormModule|"
      "ActivationModule|RecurrentCell|GroupNorm|ConvModule) ");
  int found = 0;
  for (const char* folder : {"layers", "models"})
    for (const auto& file :
         std::filesystem::directory_iterator(std::string(GRADUS_SOURCE_DIR "/") + folder)) {
      if (file.path().extension() != ".h") continue;
      std::ifstream in(file.path());
      const std::string text{std::istreambuf_iterator<char>(in), {}};
      for (std::sregex_iterator m(text.begin(), text.end(), definition), end; m != end; ++m) {
        const std::string name = (*m)[1];
        if (abstract.contains(name)) continue;
        ++found;
        BOOST_TEST(rows.contains(name), name << " in " << file.path() << " has no samples");
      }
    }
  BOOST_TEST(found >= 25);
  BOOST_TEST(static_cast<size_t>(found) == rows.size());
}

BOOST_AUTO_TEST_CASE(parameters_are_checked_by_name) {
  Sequential model(Linear(3, 4), BatchNorm(4), Linear(4, 2));
  const Tensor x = rand({5, 3});
  const GradcheckReport report = gradcheck(model, x);
  BOOST_TEST(report);
  std::vector<std::string> names;
  for (const GradcheckInput& input : report.inputs) names.push_back(input.name);
  BOOST_TEST((names == std::vector<std::string>{"input 0", "0.weight", "0.bias", "1.weight",
                                                "1.bias", "2.weight", "2.bias"}));
  BOOST_TEST(report.subject == "Sequential");
  BOOST_TEST(report.reproduce ==
             "gradcheck(module, forward, inputs, {.seed = 1, .mode = GradcheckMode::full})");
}

// However the inputs are given, the parameters are not left out.
BOOST_AUTO_TEST_CASE(a_list_of_inputs_checks_the_parameters_too) {
  Linear model(3, 2);
  const std::vector<Tensor> x{rand({4, 3})};
  for (const GradcheckReport& report : {gradcheck(model, x), gradcheck(model, {x[0]}),
                                        gradgradcheck(model, x), gradgradcheck(model, {x[0]})}) {
    BOOST_TEST(report);
    BOOST_TEST(report.inputs.size() >= 3, report);
  }
  BOOST_CHECK_THROW(gradcheck(model, std::vector{x[0], x[0]}), Error);
}

BOOST_AUTO_TEST_CASE(the_module_is_as_before) {
  Sequential model(Linear(3, 4), BatchNorm(4), Dropout(0.5), Linear(4, 2));
  model[2].eval();
  const Tensor x = rand({5, 3});
  std::vector<Tensor> handles, grads;
  for (auto& [path, tensor] : model.state()) handles.push_back(raw::clone(tensor));
  const std::vector<Tensor> parameters = model.parameters();
  for (const Tensor& parameter : parameters) {
    Tensor(parameter).set_grad(ones_like(parameter));
    grads.push_back(parameter.grad());
  }
  const Generator::State random = default_generator().state();
  BOOST_TEST(gradcheck(model, x));
  BOOST_TEST(gradgradcheck(model, x));
  BOOST_TEST((default_generator().state() == random));
  const NamedTensors state = model.state();
  for (size_t i = 0; i < state.size(); ++i) {
    BOOST_TEST((state[i].second.dtype() == handles[i].dtype()));
    BOOST_TEST(state[i].second.to_vector<double>() == handles[i].to_vector<double>(),
               state[i].first);
  }
  for (size_t i = 0; i < parameters.size(); ++i) BOOST_TEST(parameters[i].grad().is(grads[i]));
  BOOST_TEST((model.training() && model[1].training() && !model[2].training()));
  // Also if it throws.
  BOOST_CHECK_THROW(gradcheck(model, rand({5, 4})), Error);
  BOOST_TEST((model.parameters()[0].dtype() == DType::f32));
}

BOOST_AUTO_TEST_CASE(the_op_that_is_to_blame_is_named) {
  Op* op = find_op("layer_norm");
  const auto right = op->backward;
  op->backward = [](Backward& ctx) {
    for (int i = 0; i < 3; ++i)
      if (ctx.needs(i)) ctx.set(i, ones(ctx.input_shape(i), DType::f64));
  };
  Mlp model(4, 3, {.hidden = {5}, .norm = Norm::layer});
  fill_for_check(model);
  const GradcheckReport report = gradcheck(model, rand({4, 4}));
  op->backward = right;
  BOOST_TEST(!report);
  BOOST_TEST((report.suspects == std::vector<std::string>{"layer_norm"}));
  BOOST_TEST(report.text().find("these fail their own samples: layer_norm") != std::string::npos,
             report);
}

// A hundred thousand parameters, along random directions.
BOOST_AUTO_TEST_CASE(a_large_model_is_projected) {
  Mlp model(64, 10, {.hidden = {256, 256, 64}, .norm = Norm::batch});
  BOOST_TEST(model.parameter_count() > 100000);
  const GradcheckReport report = gradcheck(model, randn({16, 64}));
  BOOST_TEST(report);
  BOOST_TEST((report.mode == GradcheckMode::projected));
  BOOST_TEST(report.miss_probability < 1e-4);
}
