#define BOOST_TEST_MODULE module
#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/compare.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/linear.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/layers/activation.h>
#include <gradus/layers/attention.h>
#include <gradus/layers/batch_norm.h>
#include <gradus/layers/conv2d.h>
#include <gradus/layers/dropout.h>
#include <gradus/layers/embedding.h>
#include <gradus/layers/layer_norm.h>
#include <gradus/layers/linear.h>
#include <gradus/layers/rnn.h>
#include <gradus/layers/sequential.h>
#include <gradus/models/mlp.h>
#include <gradus/optim/sgd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "tests/checks.h"
#include "tests/module_state.h"

using namespace gradus;
using test::print;
using test::says;

namespace {

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

// So do modules that are held by value, of whatever class: an optimizer has what it had.
BOOST_AUTO_TEST_CASE(assigning_keeps_the_parameters_of_modules_in_others) {
  const auto keeps = [](auto model, const auto& other) {
    const std::vector<Tensor> before = model.parameters();
    model = other;
    const std::vector<Tensor> after = model.parameters();
    BOOST_TEST_REQUIRE(before.size() == after.size());
    for (size_t i = 0; i < before.size(); ++i) BOOST_TEST(before[i].is(after[i]));
    auto copy = other;
    BOOST_TEST(print(model) == print(copy));
  };
  keeps(Sequential(Linear(3, 2), BatchNorm(2), Relu()),
        Sequential(Linear(3, 2), BatchNorm(2), Relu()));
  keeps(Sequential(Sequential(Linear(3, 2)), LayerNorm(2)),
        Sequential(Sequential(Linear(3, 2)), LayerNorm(2)));
  keeps(Mlp(4, 2, {.hidden = {3}, .norm = Norm::layer}),
        Mlp(4, 2, {.hidden = {3}, .norm = Norm::layer}));
  keeps(Lstm(3, 4, {.num_layers = 2}), Lstm(3, 4, {.num_layers = 2}));

  // Another class takes the place.
  Sequential model(Linear(3, 2), Relu());
  const Sequential other(Linear(3, 2), Tanh());
  model = other;
  BOOST_TEST(model.tree() == Sequential(other).tree());
}

namespace {

/// scores = tanh(table[words]) table^T: one tensor under two names.
class Tied : public UnaryModule {
 public:
  Tied() : words(5, 3), out(3, 5, {.bias = false}) { out.weight.share(words.weight); }
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

// A file with two values for what is one tensor: neither is taken. NaN is a value like others.
BOOST_AUTO_TEST_CASE(one_tensor_takes_one_value) {
  Tied model;
  const Tensor before = raw::clone(model.words.weight);
  for (const bool whole : {false, true}) {
    NamedTensors state = model.state();
    BOOST_TEST_REQUIRE(state.size() == 2u);
    for (auto& [name, values] : state) values = raw::clone(values);
    Tensor& second = state[1].second;
    if (whole)
      second = full(second.shape(), NAN);
    else
      second.mutable_data<float>()[14] += 1;
    BOOST_CHECK_EXCEPTION(model.load_state(state), Error,
                          says("load: words.weight (5, 3) and out.weight (5, 3) share memory, and "
                               "are given different values for it"));
    BOOST_TEST(model.words.weight.to_vector<float>() == before.to_vector<float>());
    std::swap(state[0].second, state[1].second);
    BOOST_CHECK_THROW(model.load_state(state), Error);
    state[0].second = state[1].second;
    model.load_state(state);
    state[0].second = full(second.shape(), NAN);
    state[1].second = full(second.shape(), NAN);
    model.load_state(state);
    model.words.weight.set_data(before);
  }
}

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
}

// As Python's deepcopy: tied within the copy, not with the original nor with another copy.
BOOST_AUTO_TEST_CASE(copies_keep_tied_weights_tied) {
  const auto check_tied = [](Module& copy, Module& original) {
    const NamedTensors a = original.state(), b = copy.state();
    BOOST_TEST_REQUIRE(a.size() == b.size());
    for (size_t i = 0; i < a.size(); ++i) {
      BOOST_TEST(!b[i].second.shares_storage(a[i].second), a[i].first);
      for (size_t j = 0; j < i; ++j)
        BOOST_TEST(b[i].second.is(b[j].second) == a[i].second.is(a[j].second),
                   a[j].first << " and " << a[i].first);
    }
    BOOST_TEST(print(copy) == print(original));
  };
  Tied model;
  for (int i = 0; i < 2; ++i) {
    Tied copy = model, of_copy = copy;
    BOOST_TEST(copy.out.weight.is(copy.words.weight));
    check_tied(copy, model);
    check_tied(of_copy, copy);
    check_tied(of_copy, model);
  }
  // In other modules, held by value, in a vector and assigned.
  Sequential two(model, Linear(5, 5), model), copy = two;
  BOOST_TEST(two.parameters().size() == 4u);
  check_tied(copy, two);
  AnyModule any = two, other = any;
  check_tied(*other, *any);
  copy = Sequential(Relu());
  copy = two;
  check_tied(copy, two);
  Tied assigned, moved;
  assigned = model;
  check_tied(assigned, model);
  moved = Tied(model);
  check_tied(moved, model);
  std::vector<Tied> many(3, model);
  for (Tied& one : many) check_tied(one, model);
  BOOST_TEST(!many[0].words.weight.shares_storage(many[1].words.weight));
  // Parts that are copied one after another are copies of their own.
  const Embedding words = model.words;
  const Linear out = model.out;
  BOOST_TEST(!words.weight.shares_storage(out.weight));
  const Parameter a = model.words.weight, b = model.out.weight;
  BOOST_TEST(!a.shares_storage(b));
}

namespace {

/// A tie between a child and a grandchild, among others that are not tied.
struct DeeplyTied : Module {
  DeeplyTied() : first(3, 5, {.bias = false}), last(5, 5) { first.weight.share(inner.out.weight); }
  DeeplyTied(const DeeplyTied& other) = default;
  void visit(Visitor& visitor) override {
    visitor.module("first", first);
    visitor.module("inner", inner);
    visitor.module("last", last);
  }
  std::string describe() const override { return "DeeplyTied"; }
  Linear first;
  Tied inner;
  Linear last;
};

/// Copies but one of two that are one, as a class with a copy constructor of its own may.
struct HalfCopied : Module {
  HalfCopied() : a(2, 2), b(2, 2) { b.weight.share(a.weight); }
  HalfCopied(const HalfCopied& other) : Module(other), a(other.a), b(2, 2) {}
  void visit(Visitor& visitor) override {
    visitor.module("a", a);
    visitor.module("b", b);
  }
  std::string describe() const override { return "HalfCopied"; }
  Linear a, b;
};

/// A copy of it, and an assignment, may fail between its parts.
struct Failing : Module {
  struct Fails {
    Fails() = default;
    Fails(const Fails&) { check(!fail, "fails"); }
    Fails& operator=(const Fails&) {
      check(!fail, "fails");
      return *this;
    }
    static inline bool fail = false;
  };
  Failing() : a(2, 2), b(2, 2) { b.weight.share(a.weight); }
  void visit(Visitor& visitor) override {
    visitor.module("a", a);
    visitor.module("b", b);
  }
  std::string describe() const override { return "Failing"; }
  Linear a;
  Fails between;
  Linear b;
};

/// A module that is not shown is copied between two that are tied.
struct WithTeacher : Module {
  WithTeacher() : a(2, 2), b(2, 2) { b.weight.share(a.weight); }
  void visit(Visitor& visitor) override {
    visitor.module("a", a);
    visitor.module("b", b);
  }
  std::string describe() const override { return "WithTeacher"; }
  Linear a;
  Tied teacher;
  Linear b;
};

}  // namespace

BOOST_AUTO_TEST_CASE(a_copy_that_fails_leaves_nothing_to_later_ones) {
  Failing model;
  raw::fill(model.a.weight, 1);
  Failing::Fails::fail = true;
  BOOST_CHECK_THROW(Failing copy(model), Error);
  Failing::Fails::fail = false;
  const Linear b = model.b, a = model.a;
  BOOST_TEST(!a.weight.shares_storage(b.weight));
  raw::fill(model.a.weight, 5);
  Failing::Fails::fail = true;
  BOOST_CHECK_THROW(Failing copy(model), Error);
  Failing::Fails::fail = false;
  raw::fill(model.a.weight, 7);
  const Linear part = model.b;
  test::check_close("a part's copy", part.weight, {7, 7, 7, 7}, 0);
  Failing assigned;
  Failing::Fails::fail = true;
  BOOST_CHECK_THROW(assigned = model, Error);
  Failing::Fails::fail = false;
  raw::fill(model.a.weight, 9);
  const Linear next = model.b;
  test::check_close("a part's copy", next.weight, {9, 9, 9, 9}, 0);
  BOOST_TEST(!next.weight.shares_storage(assigned.a.weight));
  const Failing whole = model;
  BOOST_TEST(whole.a.weight.is(whole.b.weight));
}

BOOST_AUTO_TEST_CASE(what_a_copy_leaves_out_is_no_part_of_it_later) {
  HalfCopied model;
  raw::fill(model.a.weight, 1);
  { const HalfCopied ended = model; }
  const Linear after = model.b, before = model.a;
  BOOST_TEST(!after.weight.shares_storage(before.weight));
  HalfCopied copy = model;
  raw::fill(model.a.weight, 5);
  const Linear b = model.b;
  test::check_close("b", b.weight, {5, 5, 5, 5}, 0);
  BOOST_TEST(!b.weight.shares_storage(copy.a.weight));
  HalfCopied trained = model;
  raw::fill(trained.a.weight, 6);
  const Linear other = model.b;
  test::check_close("b", other.weight, {5, 5, 5, 5}, 0);
  // Other modules come and go where these were.
  for (int i = 0; i < 3; ++i) {
    const auto left = std::make_unique<HalfCopied>();
    const HalfCopied of_left = *left;
  }
  Tied tied;
  const Tied of_tied = tied;
  BOOST_TEST(of_tied.words.weight.is(of_tied.out.weight));
}

BOOST_AUTO_TEST_CASE(what_is_not_shown_does_not_end_a_copy) {
  WithTeacher model, copy = model;
  BOOST_TEST(copy.a.weight.is(copy.b.weight));
  BOOST_TEST(copy.teacher.words.weight.is(copy.teacher.out.weight));
  copy = model;
  BOOST_TEST(copy.a.weight.is(copy.b.weight));
}

BOOST_AUTO_TEST_CASE(a_module_of_two_names_is_one_of_the_modules) {
  struct Twice : Module {
    void visit(Visitor& visitor) override {
      visitor.module("a", part);
      visitor.module("b", part);
    }
    std::string describe() const override { return "Twice"; }
    Linear part{2, 2};
  } model;
  BOOST_TEST(model.named_modules().size() == 2u);
  BOOST_TEST(model.named_modules()[1].first == "a");
  Twice copy = model;
  BOOST_TEST(!copy.part.weight.shares_storage(model.part.weight));
  copy.eval();
  BOOST_TEST(!copy.part.training());
}

BOOST_AUTO_TEST_CASE(ties_across_levels_are_kept) {
  DeeplyTied model;
  BOOST_TEST(model.parameters().size() == 3u);
  for (int i = 0; i < 2; ++i) {
    DeeplyTied copy = model;
    BOOST_TEST(copy.parameters().size() == 3u);
    BOOST_TEST(copy.first.weight.is(copy.inner.words.weight));
    BOOST_TEST(copy.first.weight.is(copy.inner.out.weight));
    BOOST_TEST(!copy.first.weight.shares_storage(model.first.weight));
  }
  HalfCopied half;
  for (int i = 0; i < 2; ++i) {
    HalfCopied copy = half, again = half;
    BOOST_TEST(!copy.a.weight.shares_storage(again.a.weight));
    BOOST_TEST(!copy.b.weight.shares_storage(again.b.weight));
  }
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
  Sequential convolutions(Conv2d(3, 4, 3, {.bias = false}), BatchNorm(4), Conv2d(4, 2, 1));
  for (Tensor& x : convolutions.parameters()) x.set_requires_grad(x.ndim() == 1);
  dynamic_cast<BatchNorm&>(convolutions[1]).freeze_statistics();
  BOOST_TEST(convolutions.tree() ==
             "Sequential\n"
             "  0: Conv2d(3, 4, kernel 3, stride 1, padding 0, no bias), frozen\n"
             "  1: BatchNorm(4, frozen statistics)\n"
             "  2: Conv2d(4, 2, kernel 1, stride 1, padding 0), frozen: weight");
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
  Block() : attn(8, 2) {}
  Tensor forward(const Tensor& x) override {
    const ForwardScope scope(*this);
    return attn(x);
  }
  void visit(Visitor& visitor) override { visitor.module("attn", attn); }
  std::string describe() const override { return "Block"; }
  MultiHeadAttention attn;
};

struct Model : UnaryModule {
  Model() : encoder(Linear(3, 8), Block()) {}
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

BOOST_AUTO_TEST_CASE(attention_is_called_with_query_key_and_value) {
  MultiHeadAttention attention(6, 2);
  const Tensor query = randn({2, 3, 6}), memory = randn({2, 4, 6}), none = ones({2, 0, 6});
  BOOST_TEST(
      all(equal(attention(query, memory, memory), attention.forward(query, memory, memory))));
  BOOST_TEST(all(equal(attention(query, none, none), attention.out_proj(zeros({2, 3, 6})))));
}

BOOST_AUTO_TEST_CASE(attention_begins_with_zero_biases) {  // as torch.nn.MultiheadAttention
  MultiHeadAttention attention(6, 2);
  for (const Tensor& bias : {Tensor(attention.in_proj_bias), Tensor(attention.out_proj.bias)})
    BOOST_TEST(all(equal(bias, 0)));
}

// Nothing draws but a parameter's constructor, so 33 modules around each other draw as one does.
BOOST_AUTO_TEST_CASE(first_values_are_drawn_once) {
  const auto drawn = [] { return default_generator().state().position; };
  const uint64_t before = drawn();
  AnyModule model = Linear(4, 4);
  BOOST_TEST(drawn() - before == 4u);  // two parameters, a 64-bit seed each
  const std::string values = fmt::format("{}", model->parameters()[0]);
  for (int i = 0; i < 33; ++i)
    model = i % 2 ? AnyModule(Residual(model)) : AnyModule(Sequential(model));
  BOOST_TEST(drawn() - before == 4u);
  BOOST_TEST(fmt::format("{}", model->parameters()[0]) == values);
  BatchNorm constants(4);
  BOOST_TEST(drawn() - before == 4u);
}

namespace {

/// Has what its visit does not show: a child in a Sequential, one in a vector, or a parameter.
struct Forgetful : UnaryModule {
  enum class Hides { child, grandchild, one_of_many, parameter };
  explicit Forgetful(Hides what)
      : hides(what), shown(3, 4), hidden(4, 4), inner(Linear(4, 4)), scale({4}, Init::ones()) {
    many.emplace_back(4, 4);
  }
  Tensor forward(const Tensor& x) override {
    const Tensor h = shown(x);
    switch (hides) {
      case Hides::child:
        return hidden(h);
      case Hides::grandchild:
        return inner(h);
      case Hides::one_of_many:
        return many[0](h);
      case Hides::parameter:
        break;
    }
    return h * scale;
  }
  void visit(Visitor& visitor) override { visitor.module("shown", shown); }
  std::string describe() const override { return "Forgetful"; }
  Hides hides;
  Linear shown, hidden;
  Sequential inner;
  std::vector<Linear> many;
  Parameter scale;
};

}  // namespace

BOOST_AUTO_TEST_CASE(what_visit_does_not_show_is_named_in_training) {
  const std::pair<Forgetful::Hides, const char*> cases[] = {
      {Forgetful::Hides::child, "parameter Linear(4, 4).weight (4, 4) f32, which linear uses"},
      {Forgetful::Hides::grandchild, "parameter Sequential.0.weight (4, 4) f32, which linear uses"},
      {Forgetful::Hides::one_of_many, "parameter Linear(4, 4).weight (4, 4) f32"},
      {Forgetful::Hides::parameter, "parameter (4,) f32, which mul uses"}};
  for (const auto& [hides, message] : cases) {
    for (bool called : {true, false}) {
      Forgetful model(hides), wrapped(hides);
      Sequential outer(wrapped);
      for (UnaryModule* net :
           {static_cast<UnaryModule*>(&model), static_cast<UnaryModule*>(&outer)}) {
        Sgd optimizer(net->parameters(), {.lr = 1});
        Tape tape;
        const Tensor loss = sum(called ? (*net)(ones({2, 3})) : net->forward(ones({2, 3})));
        if (called || hides == Forgetful::Hides::parameter)
          BOOST_CHECK_EXCEPTION(tape.backward(loss), Error, says(message));
        else
          BOOST_CHECK_EXCEPTION(tape.backward(loss), Error, says("neither trained nor saved"));
        for (const Tensor& parameter : net->parameters()) BOOST_TEST(!parameter.grad());
      }
    }
  }
}

// What is asked for is one module's tensors, not those of its copies.
BOOST_AUTO_TEST_CASE(a_copy_is_asked_for_on_its_own) {
  Forgetful model(Forgetful::Hides::child);
  Linear square(4, 4);
  square.parameters();
  model.hidden = Linear(square);
  Sgd optimizer(model.parameters(), {.lr = 1});
  Tape tape;
  const Tensor loss = sum(model(ones({2, 3})));
  BOOST_CHECK_EXCEPTION(tape.backward(loss), Error, says("neither trained nor saved"));
}

BOOST_AUTO_TEST_CASE(what_is_frozen_or_asked_for_on_its_own_is_no_stranger) {
  const auto train = [](Linear& model, Linear& other) {
    Sgd optimizer(model.parameters(), {.lr = 1});
    Tape tape;
    tape.backward(sum(model(other(ones({2, 3})))));
    BOOST_TEST(static_cast<bool>(model.weight.grad()));
  };
  const auto backward_alone = [](Linear& model) {
    Tape tape;
    tape.backward(sum(model(ones({2, 3}))));
    BOOST_TEST(static_cast<bool>(model.weight.grad()));
  };
  Linear model(4, 2), frozen(3, 4), asked(3, 4), loaded(3, 4), with_optimizer(3, 4), alone(3, 4);
  frozen.weight.set_requires_grad(false);
  frozen.bias.set_requires_grad(false);
  train(model, frozen);
  asked.parameters();
  train(model, asked);
  loaded.load_state(asked.state());
  train(model, loaded);
  const Sgd other({with_optimizer.weight, with_optimizer.bias}, {.lr = 1});
  train(model, with_optimizer);
  backward_alone(alone);  // nobody was asked for anything
}

namespace {

/// Keeps what it was given, and refuses a negative value after that.
struct Remembers : UnaryModule {
  Tensor forward(const Tensor& x) override {
    ForwardScope::restore_on_error(seen);
    seen.set_data(concat({seen, x}));
    check(all(x >= 0), "Remembers: negative");
    return x;
  }
  void visit(Visitor& visitor) override { visitor.buffer("seen", seen); }
  std::string describe() const override { return "Remembers"; }
  Buffer seen{ones({1})};
};

}  // namespace

BOOST_AUTO_TEST_CASE(a_refused_forward_puts_back_buffers_of_other_shapes) {
  Sequential model{Remembers()};
  model(ones({2}));
  BOOST_TEST(model.state()[0].second.numel() == 3);
  BOOST_CHECK_THROW(model(zeros({2}) - 1), Error);
  BOOST_TEST(model.state()[0].second.numel() == 3);
}

BOOST_AUTO_TEST_CASE(threads_may_ask_one_model_at_once) {
  Sequential model(small(), small());
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&, i] {
      for (int k = 0; k < 3; ++k) {
        if ((i + k) % 2 == 0) model.parameters();
        try {
          model(ones({2, 9}));
        } catch (const Error& error) {
          if (!says("in 0.0: linear")(error)) std::abort();
        }
      }
    });
  for (std::thread& thread : threads) thread.join();
  BOOST_TEST(model.parameters()[0].name() == "0.0.weight");
}

namespace {

/// Uses a module that its visit does not show, another's.
struct Uses : UnaryModule {
  explicit Uses(UnaryModule& module) : used(module) {}
  Tensor forward(const Tensor& x) override { return used(x); }
  void visit(Visitor&) override {}
  std::string describe() const override { return "Uses"; }
  UnaryModule& used;
};

}  // namespace

BOOST_AUTO_TEST_CASE(what_eval_does_not_reach_is_named) {
  Dropout dropout;
  Sequential inside(Relu(), BatchNorm(3, {.affine = false}));
  for (UnaryModule* hidden :
       {static_cast<UnaryModule*>(&dropout), static_cast<UnaryModule*>(&inside)}) {
    Sequential model{Uses(*hidden)};
    model(ones({2, 3}));
    model.eval();
    BOOST_CHECK_EXCEPTION(model(ones({2, 3})), Error,
                          says("is in training where Sequential, whose visit does not show it"));
    (*hidden)(ones({2, 3}));  // by itself it trains
    hidden->eval();
    model(ones({2, 3}));
    model.train();
    model(ones({2, 3}));  // a part that is kept in evaluation
  }
  Relu relu;
  Sequential harmless{Uses(relu)};
  harmless.eval();
  harmless(ones({2, 3}));
}

namespace {

/// Shows two things under one name.
struct Twice : UnaryModule {
  explicit Twice(bool of_tensors) : tensors(of_tensors), a(3, 3), b(3, 3), w({3}, Init::ones()) {}
  Tensor forward(const Tensor& x) override { return b(a(x)) * w; }
  void visit(Visitor& visitor) override {
    visitor.module("fc", a);
    visitor.module(tensors ? "fc2" : "fc", b);
    if (tensors) visitor.parameter("fc.weight", w);
  }
  std::string describe() const override { return "Twice"; }
  bool tensors;
  Linear a, b;
  Parameter w;
};

}  // namespace

// What no file could hold, or could not tell from others, is found where names are given.
BOOST_AUTO_TEST_CASE(names_that_no_file_holds_are_found_at_once) {
  struct Named : UnaryModule {
    Named(std::string called, int which) : name(std::move(called)), kind(which), inner(3, 3) {}
    Tensor forward(const Tensor& x) override { return inner(x) * w; }
    void visit(Visitor& visitor) override {
      if (kind == 0) visitor.parameter(name, w);
      if (kind == 1) visitor.buffer(name, b);
      visitor.module(kind == 2 ? name : "inner", inner);
    }
    std::string describe() const override { return "Named"; }
    std::string name;
    int kind;
    Linear inner;
    Parameter w{{3}, Init::ones()};
    Buffer b{ones({3})};
  };
  for (int kind = 0; kind < 3; ++kind) {
    for (const char* name : {"__metadata__", "a\xff", "\xc3", "w.", ".", ".w", "a..b", ""})
      BOOST_TEST_CONTEXT(kind << " " << name) {
        Named module(name, kind);
        BOOST_CHECK_EXCEPTION(module(ones({2, 3})), Error, says("visit: "));
        BOOST_CHECK_EXCEPTION(module.parameters(), Error, says("visit: "));
        BOOST_CHECK_EXCEPTION(module.state(), Error, says("visit: "));
        BOOST_CHECK_EXCEPTION(module.save("never"), Error, says("visit: "));
      }
    for (const char* name : {"metadata", "caf\u00e9", "0.fc", "a b"})
      BOOST_TEST(Named(name, kind).state().size() == (kind == 2 ? 2u : 3u), name);
  }
  BOOST_TEST(!std::filesystem::exists("never"));
}

BOOST_AUTO_TEST_CASE(two_of_one_name_are_found_at_once) {
  for (bool tensors : {false, true}) {
    const auto found =
        says(tensors ? "two things are called fc.weight" : "two things are called fc;");
    BOOST_CHECK_EXCEPTION(Twice{tensors}(ones({2, 3})), Error, found);
    BOOST_CHECK_EXCEPTION(Sequential(Twice{tensors})(ones({2, 3})), Error,
                          says("two things are called 0.fc"));
    BOOST_CHECK_EXCEPTION(Twice{tensors}.parameters(), Error, found);
    BOOST_CHECK_EXCEPTION(Twice{tensors}.state(), Error, found);
    BOOST_CHECK_EXCEPTION(Twice{tensors}.initialize(1), Error, found);
    BOOST_CHECK_EXCEPTION(Twice{tensors}.to(DType::f64), Error, found);
    BOOST_CHECK_EXCEPTION(Twice{tensors}.tree(), Error, found);
  }
}

namespace {

struct Net : UnaryModule {
  Net() : body(3, 7), head(7, 5) {}
  Tensor forward(const Tensor& x) override { return head(body(x)); }
  void visit(Visitor& visitor) override {
    visitor.module("body", body);
    visitor.module("head", head);
    for (size_t i = 0; i < more.size(); ++i) visitor.module(fmt::format("more.{}", i), more[i]);
  }
  std::string describe() const override { return "Net"; }
  Linear body, head;
  std::vector<Linear> more;
};

}  // namespace

BOOST_AUTO_TEST_CASE(an_assigned_child_has_the_name_of_its_place) {
  const Linear given(7, 2);
  for (bool asked : {false, true})
    for (bool copied : {false, true}) {
      Net net;
      if (asked) net(ones({2, 3}));
      if (copied)
        net.head = given;
      else
        net.head = Linear(7, 2);
      if (asked) BOOST_TEST(net.head.weight.name() == "head.weight");
      if (asked) BOOST_TEST(net.head.name() == "head");
      BOOST_CHECK_EXCEPTION(net(ones({2, 4})), Error, says("in body: "));
      net.body = Linear(3, 6);
      BOOST_CHECK_EXCEPTION(net(ones({2, 3})), Error, says("in head: linear"));
      const NamedTensors named = net.named_parameters();
      for (const auto& [path, parameter] : named) BOOST_TEST(parameter.name() == path);
      BOOST_TEST(named[3].first == "head.bias");
      BOOST_TEST(named[3].second.size(0) == 2);
    }
}

// A parameter that took another's place is not the optimizer's.
BOOST_AUTO_TEST_CASE(a_child_assigned_behind_the_optimizer_s_back_is_named) {
  Net net;
  Sgd optimizer(net.parameters(), {.lr = 1});
  net.head = Linear(7, 2);
  Tape tape;
  const Tensor loss = sum(net(ones({2, 3})));
  BOOST_CHECK_EXCEPTION(tape.backward(loss), Error, says("parameter head.weight (2, 7) f32"));
}

BOOST_AUTO_TEST_CASE(names_are_given_when_they_are_asked_for) {
  Net net;
  net(ones({2, 3}));
  net.more.emplace_back(2, 2);
  net.more.emplace_back(2, 2);
  net.parameters();
  BOOST_TEST(net.more[1].weight.name() == "more.1.weight");
  BOOST_TEST(net.more[1].name() == "more.1");
  Sequential model(Linear(3, 3));
  model(ones({2, 3}));
  model.add(Net());
  Tape tape;
  model(ones({2, 3}));
  BOOST_TEST(tape.info(0).name == "0.weight");
  bool seen = false;
  for (uint32_t i = 0; i < tape.size(); ++i) seen = seen || tape.info(i).name == "1.head.bias";
  BOOST_TEST(seen);
  BOOST_CHECK_EXCEPTION(model(ones({2, 4})), Error, says("in 0: linear"));
  auto& added = dynamic_cast<Net&>(model[1]);
  added.head = Linear(8, 2);
  BOOST_CHECK_EXCEPTION(model(ones({2, 3})), Error, says("in 1.head: linear"));
}

namespace {

Tensor doubled(const Tensor& x) { return x + x; }

/// Blocks of one type, and of several.
class Blocks : public UnaryModule {
 public:
  Blocks() : same{Linear(3, 3), Linear(3, 3)} {
    mixed.emplace_back(Tanh());
    mixed.emplace_back(Linear(3, 2));
  }
  Tensor forward(const Tensor& x) override {
    Tensor y = x;
    for (Linear& one : same) y = one(y);
    for (AnyModule& one : mixed) y = one(y);
    return y;
  }
  void visit(Visitor& visitor) override {
    visitor.modules("same", same);
    visitor.modules("mixed", mixed);
  }
  std::string describe() const override { return "Blocks"; }

  std::vector<Linear> same;
  std::vector<AnyModule> mixed;
};

}  // namespace

BOOST_AUTO_TEST_CASE(functions_in_a_sequential_are_modules) {
  Linear linear(3, 4);
  double factor = 3;
  Sequential model(
      linear, [factor](const Tensor&x) { return factor * x; }, doubled),
      copy = model;
  model.add([](const Tensor& x) { return flatten(x, 0); });
  BOOST_TEST(model.size() == 4u);
  BOOST_TEST(model.tree() ==
             "Sequential\n  0: Linear(3, 4)\n  1: Lambda\n  2: Lambda\n  3: Lambda");
  const Tensor x = randn({2, 3});
  const std::vector<float> y = (6 * linear(x)).to_vector<float>();
  for (size_t i = 0; i < y.size(); ++i) {
    BOOST_TEST(std::abs(model(x).to_vector<float>()[i] - y[i]) < 1e-5);
    BOOST_TEST(std::abs(copy(x).to_vector<float>()[i] - y[i]) < 1e-5);
  }
  BOOST_TEST((model(x).shape() == Shape{8}));
}

BOOST_AUTO_TEST_CASE(a_vector_of_modules_is_shown_as_a_list) {
  Blocks model;
  std::vector<std::string> paths;
  for (const auto& [path, module] : model.named_modules()) paths.push_back(path);
  BOOST_TEST(paths == (std::vector<std::string>{"", "same.0", "same.1", "mixed.0", "mixed.1"}));
  std::vector<std::string> names;
  for (const auto& [name, tensor] : model.state()) names.push_back(name);
  BOOST_TEST(names == (std::vector<std::string>{"same.0.weight", "same.0.bias", "same.1.weight",
                                                "same.1.bias", "mixed.1.weight", "mixed.1.bias"}));
  BOOST_CHECK_EXCEPTION(model(ones({2, 4})), Error, says("in same.0"));
}

// As when a net is taken over and only its head is trained.
BOOST_AUTO_TEST_CASE(what_is_frozen_does_not_train) {
  Sequential model(Sequential(Linear(3, 4), BatchNorm(4), Relu()), Linear(4, 2));
  Sgd optimizer(model.parameters(), {.lr = 0.5, .momentum = 0.9, .weight_decay = 0.1});
  const Tensor x = randn({6, 3});
  const auto step = [&] {
    Tape tape;
    const Tensor loss = sum(square(model(x)));
    optimizer.zero_grad();
    tape.backward(loss);
    optimizer.step();
  };
  step();  // gradients, momentum and statistics
  auto& body = dynamic_cast<Sequential&>(model[0]);
  body.freeze();
  const auto values = [](Module& module) {
    std::vector<double> all;
    for (const auto& [name, tensor] : module.state())
      for (double value : tensor.to_vector<double>()) all.push_back(value);
    return all;
  };
  const auto frozen = values(body), head = values(model[1]);
  const Tensor y = body(x);
  optimizer.step();  // by no gradient that was left
  model.train();
  step();
  BOOST_TEST(values(body) == frozen);
  BOOST_TEST(values(model[1]) != head);
  BOOST_TEST(body(x).to_vector<double>() == y.to_vector<double>());
  body.eval();
  BOOST_TEST(body(x).to_vector<double>() == y.to_vector<double>());  // by the running statistics
  body.train();
  Sequential copy = body;
  for (const Tensor& parameter : copy.parameters()) BOOST_TEST(!parameter.requires_grad());
  copy(x);
  BOOST_TEST(values(copy) == frozen);
  body.freeze(false);
  step();
  BOOST_TEST(values(body) != frozen);
  BOOST_TEST(dynamic_cast<BatchNorm&>(body[1]).num_batches_tracked.item() == 2);
  Sequential untracked(BatchNorm(4, {.track_running_stats = false}));
  untracked.freeze();  // has none: its batch's go on
  untracked(ones({3, 4}));
}
