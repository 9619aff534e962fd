#define BOOST_TEST_MODULE module
#include <gradus/autograd/ops/compare.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/linear.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/layers/activation.h>
#include <gradus/layers/attention.h>
#include <gradus/layers/batch_norm.h>
#include <gradus/layers/conv2d.h>
#include <gradus/layers/embedding.h>
#include <gradus/layers/layer_norm.h>
#include <gradus/layers/linear.h>
#include <gradus/layers/rnn.h>
#include <gradus/layers/sequential.h>
#include <gradus/optim/sgd.h>

#include <filesystem>
#include <fstream>

#include "tests/checks.h"

using namespace gradus;
using test::says;

namespace {

/// Names, shapes, dtypes and elements: equal for equal states.
std::string print(Module& module) {
  std::string text;
  for (const auto& [path, tensor] : module.state())
    text += fmt::format("{} {} {:.17}\n", path, tensor.shape(), tensor);
  return text;
}

Sequential small() { return Sequential(Linear(3, 4), BatchNorm(4), Relu(), Linear(4, 2)); }

struct File {
  std::string path = "test_module.safetensors";
  ~File() { std::filesystem::remove(path); }
};

}  // namespace

// What PyTorch 2.13 prints for
//   nn.Sequential(nn.Embedding(7, 6), nn.Linear(6, 4), nn.BatchNorm1d(4),
//                 nn.Sequential(nn.Conv2d(4, 6, 3, groups=2), nn.ReLU(), nn.Conv2d(6, 2, 1,
//                 bias=False)), nn.LayerNorm((3, 5)), nn.RNNCell(4, 5), nn.MultiheadAttention(6,
//                 2), nn.BatchNorm2d(4, affine=False), nn.BatchNorm1d(4,
//                 track_running_stats=False), nn.LayerNorm(3, elementwise_affine=False),
//                 nn.LayerNorm(3, bias=False), nn.RNNCell(4, 5, bias=False),
//                 nn.MultiheadAttention(6, 2, bias=False))
// by: for k, v in m.state_dict().items(): print(k, tuple(v.shape))
BOOST_AUTO_TEST_CASE(names_shapes_and_order_are_pytorch_s) {
  const std::string expected = R"(
0.weight (7, 6)
1.weight (4, 6)
1.bias (4,)
2.weight (4,)
2.bias (4,)
2.running_mean (4,)
2.running_var (4,)
2.num_batches_tracked ()
3.0.weight (6, 2, 3, 3)
3.0.bias (6,)
3.2.weight (2, 6, 1, 1)
4.weight (3, 5)
4.bias (3, 5)
5.weight_ih (5, 4)
5.weight_hh (5, 5)
5.bias_ih (5,)
5.bias_hh (5,)
6.in_proj_weight (18, 6)
6.in_proj_bias (18,)
6.out_proj.weight (6, 6)
6.out_proj.bias (6,)
7.running_mean (4,)
7.running_var (4,)
7.num_batches_tracked ()
8.weight (4,)
8.bias (4,)
10.weight (3,)
11.weight_ih (5, 4)
11.weight_hh (5, 5)
12.in_proj_weight (18, 6)
12.out_proj.weight (6, 6)
)";
  Embedding embedding(7, 6);
  Linear linear(6, 4);
  BatchNorm norm(4), plain_norm(4, {.affine = false}),
      batch_only(4, {.track_running_stats = false});
  Sequential inner(Conv2d(4, 6, 3, {.groups = 2}), Relu(), Conv2d(6, 2, 1, {.bias = false}));
  LayerNorm layer_norm({3, 5}), plain(3, {.affine = false}), no_bias(3, {.bias = false});
  RnnCell cell(4, 5), bare_cell(4, 5, {.bias = false});
  MultiHeadAttention attention(6, 2), bare_attention(6, 2, {.bias = false});
  std::string text = "\n";
  int index = 0;
  for (Module* module : std::initializer_list<Module*>{
           &embedding, &linear, &norm, &inner, &layer_norm, &cell, &attention, &plain_norm,
           &batch_only, &plain, &no_bias, &bare_cell, &bare_attention}) {
    for (const auto& [path, tensor] : module->state())
      text += fmt::format("{}.{} {}\n", index, path, tensor.shape());
    ++index;
  }
  BOOST_TEST(text == expected);
}

BOOST_AUTO_TEST_CASE(a_file_brings_back_every_bit) {
  const File file;
  for (DType dtype : {DType::f32, DType::f64}) {
    Sequential model = small(), other = small();
    model.to(dtype);
    other.to(dtype);
    for (int i = 0; i < 3; ++i) model(randn({5, 3}, dtype));
    BOOST_TEST(print(other) != print(model));
    model.save(file.path);
    other.load(file.path);
    BOOST_TEST(print(other) == print(model));
  }
}

BOOST_AUTO_TEST_CASE(a_damaged_file_changes_nothing) {
  const File file;
  Sequential model = small();
  small().save(file.path);
  const std::string before = print(model);
  const auto size = std::filesystem::file_size(file.path);
  for (auto kept : {size - 1, size / 2, std::uintmax_t{20}, std::uintmax_t{3}, std::uintmax_t{0}}) {
    std::filesystem::resize_file(file.path, kept);
    BOOST_CHECK_EXCEPTION(model.load(file.path), Error, says(file.path));
    BOOST_TEST(print(model) == before);
  }
  BOOST_CHECK_EXCEPTION(model.load("no/such/file"), Error, says("no/such/file"));
}

// Each time all values but one would fit.
BOOST_AUTO_TEST_CASE(a_state_that_does_not_fit_changes_nothing) {
  Sequential model = small(), other = small();
  const std::string before = print(model);
  const NamedTensors good = other.state();
  BOOST_TEST_REQUIRE(good.back().first == "3.bias");
  NamedTensors missing = good, further = good, renamed = good, wrong_shape = good,
               wrong_dtype = good;
  missing.pop_back();
  further.emplace_back("4.weight", zeros({2, 2}));
  renamed.back().first = "3.offset";
  wrong_shape.back().second = zeros({3});
  wrong_dtype.back().second = zeros({2}, DType::f64);
  const std::tuple<const char*, NamedTensors*, const char*> cases[] = {
      {"missing", &missing, "load: no value for 3.bias (2,)"},
      {"further", &further,
       "load: 4.weight (2, 2) is given, but Sequential has nothing of that name"},
      {"renamed", &renamed, "load: no value for 3.bias (2,)"},
      {"wrong shape", &wrong_shape, "load: 3.bias is (2,) f32 here, but (3,) f32 is given"},
      {"wrong dtype", &wrong_dtype, "load: 3.bias is (2,) f32 here, but (2,) f64 is given"}};
  for (const auto& [what, values, message] : cases) {
    BOOST_TEST_CONTEXT(what) {
      BOOST_CHECK_EXCEPTION(model.load_state(*values), Error, says(message));
      BOOST_TEST(print(model) == before);
    }
  }
  model.load_state(good);
  BOOST_TEST(print(model) == print(other));
}

BOOST_AUTO_TEST_CASE(a_state_may_be_made_of_the_modules_own_tensors) {
  Linear model(3, 3);
  NamedTensors state{{"weight", transpose(model.weight)}, {"bias", select(model.weight, 1, 0)}};
  const auto turned = raw::clone(state[0].second).to_vector<double>(),
             column = raw::clone(state[1].second).to_vector<double>();
  model.load_state(state);
  BOOST_TEST(model.weight.to_vector<double>() == turned);
  BOOST_TEST(model.bias.to_vector<double>() == column);
  state.push_back(state.back());
  BOOST_CHECK_EXCEPTION(model.load_state(state), Error, says("load: a name is given twice"));
}

BOOST_AUTO_TEST_CASE(loading_is_not_recorded) {
  Sequential model = small(), other = small();
  Tape tape;
  model.load_state(other.state());
  BOOST_TEST(tape.size() == 0u);
}

BOOST_AUTO_TEST_CASE(copies_share_nothing) {
  Sequential model = small();
  model(randn({5, 3}));
  Sequential copy = model;
  const std::string before = print(model);
  BOOST_TEST(print(copy) == before);
  const NamedTensors a = model.state(), b = copy.state();
  for (size_t i = 0; i < a.size(); ++i) {
    BOOST_TEST(!a[i].second.shares_storage(b[i].second), a[i].first);
    BOOST_TEST(a[i].second.requires_grad() == b[i].second.requires_grad(), a[i].first);
    BOOST_TEST(a[i].second.name() == b[i].second.name(), a[i].first);
  }
  for (auto [path, tensor] : copy.state()) raw::fill(tensor, 7);
  copy.eval();
  BOOST_TEST(print(model) == before);
  BOOST_TEST(model[1].training());
  BOOST_TEST(!copy[1].training());
}

BOOST_AUTO_TEST_CASE(assigning_writes_into_the_parameters_that_are_there) {
  Linear model(3, 2), other(3, 2);
  Sgd optimizer(model.parameters(), {.lr = 1});
  model = other;
  BOOST_TEST(print(model) == print(other));
  BOOST_TEST(!model.weight.shares_storage(other.weight));
  model.bias.set_grad(ones({2}));
  optimizer.step();
  test::check_close("bias", model.bias, {other.bias.at({0}) - 1, other.bias.at({1}) - 1}, 1e-7);
}

namespace {

/// scores = tanh(table[words]) table^T: one tensor under two names.
class Tied : public UnaryModule {
 public:
  Tied() : words(5, 3), out(3, 5, {.bias = false}) {
    out.weight.share(words.weight);
    finish_construction();
  }
  Tied(const Tied& other) : UnaryModule(other), words(other.words), out(other.out) {
    out.weight.share(words.weight);
  }
  Tensor forward(const Tensor& x) override { return out(tanh(words(x))); }
  void visit(Visitor& visitor) override {
    visitor.module("words", words);
    visitor.module("out", out);
  }
  std::string describe() const override { return "Tied"; }

  Embedding words;
  Linear out;
};

}  // namespace

BOOST_AUTO_TEST_CASE(a_shared_parameter_is_one) {
  Tied model;
  model.to(DType::f64);
  BOOST_TEST(model.parameters().size() == 1u);
  BOOST_TEST(model.parameter_count() == 15);
  BOOST_TEST(model.state().size() == 2u);
  const Tensor words = Tensor::of({1, 4, 1}, DType::i64);
  Tape tape;
  tape.backward(sum(model(words)));

  // The two uses' gradients, each by itself, add up to it.
  const Tensor table = raw::clone(model.words.weight).set_requires_grad(),
               matrix = raw::clone(model.words.weight).set_requires_grad();
  Tied apart;
  apart.to(DType::f64);
  static_cast<Tensor&>(apart.words.weight) = table;
  const auto d = tape.gradient(sum(linear(tanh(apart.words(words)), matrix)), {table, matrix});
  std::vector<double> expected = d[0].to_vector<double>();
  for (size_t i = 0; i < expected.size(); ++i) expected[i] += d[1].to_vector<double>()[i];
  test::check_close("gradient", model.words.weight.grad(), expected, 1e-14);

  Tied copy = model;
  BOOST_TEST(copy.out.weight.is(copy.words.weight));
  BOOST_TEST(!copy.out.weight.shares_storage(model.out.weight));
}

BOOST_AUTO_TEST_CASE(another_dtype_keeps_handles_and_integers) {
  Sequential model = small();
  model(randn({5, 3}));
  const std::string before = print(model);
  const std::vector<Tensor> handles = model.parameters();
  Sgd optimizer(handles, {.lr = 0.5, .momentum = 0.9});
  const auto step = [&](DType dtype) {
    Tape tape;
    tape.backward(sum(square(model(randn({4, 3}, dtype)))));
    optimizer.step();
    optimizer.zero_grad();
  };

  model.to(DType::f64);
  for (const auto& [path, tensor] : model.state())
    BOOST_TEST((tensor.dtype() == (path == "1.num_batches_tracked" ? DType::i64 : DType::f64)),
               path);
  for (const Tensor& handle : handles) BOOST_TEST((handle.dtype() == DType::f64));
  model.to(DType::f32);
  BOOST_TEST(print(model) == before);

  step(DType::f32);
  model.to(DType::f64);  // between two steps: the momentum goes along
  const auto weight = model.parameters()[0].to_vector<double>();
  step(DType::f64);
  BOOST_TEST(model.parameters()[0].to_vector<double>() != weight);
  BOOST_CHECK_EXCEPTION(model.to(DType::i64), Error, says("not i64"));
}

BOOST_AUTO_TEST_CASE(train_and_eval_reach_every_child) {
  Sequential model(small(), Residual(Sequential(Linear(2, 2), BatchNorm(2))));
  auto& inner = dynamic_cast<Sequential&>(model[0]);
  BOOST_TEST((model.training() && inner.training() && inner[1].training()));
  model.eval();
  BOOST_TEST(
      (!model.training() && !inner.training() && !inner[1].training() && !inner[3].training()));
  const std::string before = print(model);
  model(randn({4, 3}));
  BOOST_TEST(print(model) == before);  // the norms in both parts, too
  model.train();
  BOOST_TEST((model.training() && inner[1].training()));
  model(randn({4, 3}));
  BOOST_TEST(print(model) != before);
}

BOOST_AUTO_TEST_CASE(a_model_prints_as_a_tree) {
  Sequential model(Linear(3, 4), Residual(Sequential(LayerNorm(4), Gelu())));
  BOOST_TEST(model.tree() ==
             "Sequential\n"
             "  0: Linear(3, 4)\n"
             "  1: Residual\n"
             "    module: Sequential\n"
             "      0: LayerNorm((4,))\n"
             "      1: Gelu");
}

BOOST_AUTO_TEST_CASE(first_values_depend_on_seed_and_path_alone) {
  Sequential two(Linear(3, 4), Linear(4, 3)), three(Linear(3, 4), Linear(4, 3), Linear(3, 4));
  two.initialize(5);
  three.initialize(5);
  const NamedTensors a = two.state(), b = three.state();
  for (size_t i = 0; i < a.size(); ++i) {
    BOOST_TEST(a[i].first == b[i].first);
    BOOST_TEST(a[i].second.to_vector<float>() == b[i].second.to_vector<float>(), a[i].first);
  }
  // Another path or seed: other values.
  BOOST_TEST(b[0].second.to_vector<float>() != b[4].second.to_vector<float>());
  two.initialize(6);
  BOOST_TEST(a[0].second.to_vector<float>() != b[0].second.to_vector<float>());
}

BOOST_AUTO_TEST_CASE(a_module_by_itself_is_drawn_from_the_default_generator) {
  manual_seed(3);
  Linear a(3, 4), b(3, 4);
  manual_seed(3);
  Linear c(3, 4);
  BOOST_TEST(print(a) == print(c));
  BOOST_TEST(print(a) != print(b));
}

namespace {

struct Block : UnaryModule {
  Block() : attn(8, 2) { finish_construction(); }
  Tensor forward(const Tensor& x) override {
    const ErrorContext where(name());
    return attn(x);
  }
  void visit(Visitor& visitor) override { visitor.module("attn", attn); }
  std::string describe() const override { return "Block"; }
  MultiHeadAttention attn;
};

struct Model : UnaryModule {
  Model() : encoder(Linear(3, 8), Block()) { finish_construction(); }
  Tensor forward(const Tensor& x) override { return encoder(x); }
  void visit(Visitor& visitor) override { visitor.module("encoder", encoder); }
  std::string describe() const override { return "Model"; }
  Sequential encoder;
};

}  // namespace

BOOST_AUTO_TEST_CASE(errors_begin_with_the_path) {
  Model model;
  const auto begins = [](std::string text) {
    return [text](const Error& e) { return std::string(e.what()).starts_with(text); };
  };
  BOOST_CHECK_EXCEPTION(
      model(ones({5, 3})), Error,
      begins("in encoder.1.attn: MultiHeadAttention: needs (N, T, 8), got (5, 8)"));
  BOOST_CHECK_EXCEPTION(model(ones({5, 2, 4})), Error, begins("in encoder.0: linear: x (5, 2, 4)"));
  Model copy = model;
  BOOST_CHECK_EXCEPTION(copy(ones({5, 3})), Error, begins("in encoder.1.attn: "));
  // A module that is not part of another has no path, and errors elsewhere none either.
  BOOST_CHECK_EXCEPTION(Linear(3, 8)(ones({5, 4})), Error, begins("linear: x (5, 4)"));
}

BOOST_AUTO_TEST_CASE(attention_begins_with_zero_biases) {  // as torch.nn.MultiheadAttention
  MultiHeadAttention attention(6, 2);
  for (const Tensor& bias : {Tensor(attention.in_proj_bias), Tensor(attention.out_proj.bias)})
    BOOST_TEST(all(equal(bias, 0)));
}
