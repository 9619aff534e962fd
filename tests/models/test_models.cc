#define BOOST_TEST_MODULE models
#include <gradus/autograd/ops/compare.h>
#include <gradus/autograd/ops/cross_entropy.h>
#include <gradus/layers/batch_norm.h>
#include <gradus/optim/adam.h>
#include <gradus/tensor/runtime.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstdio>

#include "tests/checks.h"
#include "tests/models/small_models.h"

using namespace gradus;
using test::inputs;
using test::kModels;
using test::kNorms;
using test::make;

namespace {

/// All parameters, one after the other, after 20 steps.
std::vector<float> trained(const std::string& model_name, Norm norm, int threads) {
  set_threads(threads);
  AnyModule model = make(model_name, norm, 256);  // so that the threads get something to do
  model->initialize(3);
  Adam optimizer(model->parameters());
  for (uint64_t step = 0; step < 20; ++step) {
    Generator generator(step);
    const Tensor labels = randint(0, 10, {64}, generator);
    Tape tape;
    const Tensor loss = cross_entropy(model(inputs(model_name, 64, step)), labels);
    optimizer.zero_grad();
    tape.backward(loss);
    optimizer.step();
  }
  std::vector<float> all;
  for (const Tensor& parameter : model->parameters())
    for (float value : parameter.to_vector<float>()) all.push_back(value);
  return all;
}

}  // namespace

BOOST_AUTO_TEST_CASE(training_is_the_same_on_any_number_of_threads, *test::repeats) {
  const int before = threads();
  for (const char* model : kModels)
    for (Norm norm : kNorms) {
      const auto one = trained(model, norm, 1);
      BOOST_TEST(one == trained(model, norm, 2), model << " " << name(norm));
      BOOST_TEST(one == trained(model, norm, 3), model << " " << name(norm));
    }
  set_threads(before);
}

BOOST_AUTO_TEST_CASE(every_parameter_of_every_model_gets_a_gradient) {
  for (const char* model_name : kModels)
    for (Norm norm : kNorms) {
      AnyModule model = make(model_name, norm);
      Tape tape;
      tape.backward(
          cross_entropy(model(inputs(model_name, 5, 1)), Tensor::of({1, 0, 3, 9, 2}, DType::i64)));
      for (const auto& [name, parameter] : model->named_parameters())
        BOOST_TEST(static_cast<bool>(parameter.grad()), model_name << ": " << name);
    }
}

// LayerNorm treats each image alone; BatchNorm in training does not.
BOOST_AUTO_TEST_CASE(a_model_may_be_scored_in_the_middle_of_a_step) {
  for (const char* model_name : kModels)
    for (Norm norm : kNorms) {
      std::vector<std::vector<float>> gradients[2];
      for (bool scored : {false, true}) {
        AnyModule model = make(model_name, norm);
        model->initialize(3);
        Tape tape;
        const Tensor y = model(inputs(model_name, 6, 1));
        if (scored) {
          model->eval();
          const Tensor recorded = model(inputs(model_name, 5, 2));
          const NoRecord paused;
          const Tensor score = model(inputs(model_name, 5, 2));
          model->train();
          BOOST_TEST(score.to_vector<float>() == recorded.to_vector<float>());
        }
        tape.backward(cross_entropy(y, raw::cast(Tensor::of({1, 2, 3, 4, 5, 6}), DType::i64)));
        for (const Tensor& parameter : model->parameters())
          gradients[scored].push_back(parameter.grad().to_vector<float>());
      }
      BOOST_TEST((gradients[false] == gradients[true]), model_name << " " << name(norm));
    }
}

BOOST_AUTO_TEST_CASE(a_batch_enters_if_the_norm_depends_on_it) {
  for (const char* model_name : kModels) {
    for (Norm norm : kNorms) {
      AnyModule model = make(model_name, norm);
      const Tensor x = inputs(model_name, 6, 1), y = inputs(model_name, 6, 2);
      Shape one = x.shape();
      one[0] = 1;
      const int64_t numel = one.numel();
      Tensor mixed = raw::clone(y);
      std::copy_n(x.data<float>(), numel, mixed.mutable_data<float>());
      const auto in_x = model(x).to_vector<float>(), in_mixed = model(mixed).to_vector<float>();
      double difference = 0;
      for (size_t j = 0; j < 10; ++j)
        difference = std::max(difference, std::abs(double{in_x[j]} - in_mixed[j]));
      BOOST_TEST((depends_on_batch(norm) ? difference > 1e-3 : difference < 1e-5),
                 model_name << " " << name(norm) << ": " << difference);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_batch_of_one_fails_with_batch_norm_alone_and_says_where) {
  AnyModule model = make("mlp", Norm::batch);
  try {
    model(inputs("mlp", 1, 1));
    BOOST_TEST(false, "no error");
  } catch (const Error& error) {
    BOOST_TEST(
        std::string(error.what()).find("in norms.0: batch_norm: x (1, 32) has 1 value a channel") ==
            0,
        error.what());
  }
  model->eval();
  BOOST_TEST((model(inputs("mlp", 1, 1)).shape() == Shape{1, 10}));
  AnyModule layer = make("mlp", Norm::layer);
  BOOST_TEST((layer(inputs("mlp", 1, 1)).shape() == Shape{1, 10}));
}

BOOST_AUTO_TEST_CASE(options_of_norms_reach_every_norm) {
  for (const std::string model : kModels) {
    AnyModule plain = make(model, Norm::batch);
    const auto with = [&](const NormOptions& options) {
      AnyModule other = make(model, {Norm::batch, options});
      other->load_state(plain->state());
      return other;
    };
    const auto each_norm = [](AnyModule& of, auto f) {
      int count = 0;
      for (const auto& [path, module] : of->named_modules())
        if (auto* norm = dynamic_cast<BatchNorm*>(module)) f(*norm), ++count;
      BOOST_TEST(count > 0);
    };
    const Tensor x = inputs(model, 6, 1);
    AnyModule wide = with({.eps = 4}), still = with({.momentum = 0}),
              ghost = with({.ghost_size = 2});
    BOOST_TEST(any(not_equal(wide(x), plain(x))), model);
    still(x);
    each_norm(still, [](BatchNorm& norm) {
      BOOST_TEST(norm.num_batches_tracked.item() == 1);
      BOOST_TEST(all(equal(norm.running_mean, 0)));
    });
    each_norm(ghost, [](BatchNorm& norm) {
      BOOST_TEST(norm.describe().find("groups of 2") != std::string::npos);
    });
    AnyModule layer = make(model, Norm::layer), layer_wide = make(model, {Norm::layer, {.eps = 4}});
    layer_wide->load_state(layer->state());
    BOOST_TEST(any(not_equal(layer_wide(x), layer(x))), model);
  }
}

BOOST_AUTO_TEST_CASE(a_recurrent_norm_stands_where_it_is_asked_for) {
  const auto tree = [](RnnClassifierOptions options) {
    return RnnClassifier(3, 2, options).tree();
  };
  const auto has = [](const std::string& text, const char* part) {
    return text.find(part) != std::string::npos;
  };
  using enum RecurrentPlace;
  BOOST_TEST(has(tree({.norm = Norm::batch}), "tanh, norm over all steps)"));
  BOOST_TEST(
      has(tree({.norm = Norm::batch, .norm_steps = 4}), "tanh, projection's norm per step)"));
  BOOST_TEST(has(tree({.norm = Norm::batch, .place = cell}), "tanh, norm)"));
  BOOST_TEST(
      has(tree({.norm = Norm::batch, .norm_steps = 4, .place = cell}), "tanh, norm per step)"));
  BOOST_TEST(has(tree({.norm = Norm::layer, .place = projection}), "tanh, norm over all steps)"));
  BOOST_TEST(!has(tree({.norm = Norm::batch, .place = nowhere}), "norm"));
  BOOST_TEST(!has(tree({.norm = Norm::none, .place = cell}), "norm"));
}

BOOST_AUTO_TEST_CASE(values_are_drawn_by_seed_and_path) {
  Mlp none(48, 10, {.norm = Norm::none}), batch(48, 10, {.norm = Norm::batch});
  none.initialize(7);
  batch.initialize(7);
  const auto named = batch.named_parameters();
  for (const auto& [path, parameter] : none.named_parameters()) {
    const auto same = std::find_if(named.begin(), named.end(),
                                   [&path = path](const auto& p) { return p.first == path; });
    BOOST_TEST_REQUIRE((same != named.end()), path);
    BOOST_TEST(parameter.to_vector<float>() == same->second.to_vector<float>(), path);
  }
}

BOOST_AUTO_TEST_CASE(copies_are_deep_and_to_keeps_handles) {
  AnyModule model = make("cnn", Norm::batch), copy = model;
  const auto handles = model->parameters();
  raw::fill(const_cast<Tensor&>(handles[0]), 7);
  BOOST_TEST(copy->parameters()[0].to_vector<float>() != handles[0].to_vector<float>());
  model->to(DType::f64);
  BOOST_TEST((handles[0].dtype() == DType::f64));
  BOOST_TEST((model->named_buffers()[2].second.dtype() == DType::i64));
}

BOOST_AUTO_TEST_CASE(weights_travel_through_a_file) {
  AnyModule model = make("transformer", Norm::batch), other = make("transformer", Norm::batch);
  const std::string path = "test_models_weights.safetensors";
  model->save(path);
  other->load(path);
  model->eval();
  other->eval();
  const Tensor x = inputs("transformer", 3, 1);
  BOOST_TEST(model(x).to_vector<float>() == other(x).to_vector<float>());
  BOOST_CHECK_THROW(make("transformer", Norm::layer)->load(path), Error);
  std::remove(path.c_str());
}
