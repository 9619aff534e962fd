#define BOOST_TEST_MODULE bad_input
#include <gradus/gradcheck/samples.h>
#include <gradus/gradus.h>

#include <functional>
#include <limits>

#include "tests/checks.h"

using namespace gradus;

// Every wrong input gets one Error that names the operation first, then what it was given and what
// would be right. More of them stand in the tests of the single operations.
namespace {

struct Row {
  const char* what;
  std::function<void()> f;
  std::vector<const char*> words;  // all in the message, the first at its beginning
};

void check_rows(const std::vector<Row>& rows) {
  for (const Row& row : rows) {
    std::string message;
    try {
      row.f();
      BOOST_TEST(false, row.what << ": no error");
      continue;
    } catch (const Error& error) {
      message = error.what();
    } catch (const std::exception& error) {
      BOOST_TEST(false, row.what << ": not a gradus::Error: " << error.what());
      continue;
    }
    BOOST_TEST(message.starts_with(row.words[0]), row.what << ": " << message);
    for (const char* word : row.words)
      BOOST_TEST(message.find(word) != std::string::npos,
                 row.what << " does not say '" << word << "': " << message);
  }
}

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
const Tensor a = ones({3, 4}), b = ones({3, 5}), f64 = ones({3, 4}, DType::f64),
             i64 = ones({3, 4}, DType::i64);

}  // namespace

BOOST_AUTO_TEST_CASE(shapes_that_do_not_fit) {
  check_rows({
      {"add", [] { a + b; }, {"add: ", "(3, 4)", "(3, 5)", "do not broadcast: 4 against 5"}},
      {"sub", [] { a - b; }, {"sub: ", "(3, 4)", "(3, 5)"}},
      {"mul", [] { a* b; }, {"mul: ", "(3, 4)", "(3, 5)"}},
      {"div", [] { a / b; }, {"div: ", "(3, 4)", "(3, 5)"}},
      {"pow", [] { pow(a, b); }, {"pow: ", "(3, 4)", "(3, 5)"}},
      {"maximum", [] { maximum(a, b); }, {"maximum: ", "(3, 4)", "(3, 5)"}},
      {"minimum", [] { minimum(a, b); }, {"minimum: ", "(3, 4)", "(3, 5)"}},
      {"relu_gradient", [] { relu_gradient(a, b); }, {"relu_gradient: ", "(3, 4)", "(3, 5)"}},
      {"ahead_gradient", [] { ahead_gradient(a, b); }, {"ahead_gradient: ", "(3, 4)", "(3, 5)"}},
      {"behind_gradient", [] { behind_gradient(a, b); }, {"behind_gradient: ", "(3, 4)", "(3, 5)"}},
      {"softmax_backward",
       [] { softmax_backward(a, b); },
       {"softmax_backward: ", "(3, 4)", "(3, 5)"}},
      {"where", [] { where(a > 0, a, b); }, {"where: ", "(3, 4)", "(3, 5)"}},
      {"where's condition", [] { where(b > 0, a, a); }, {"where: ", "(3, 4)", "(3, 5)"}},
      {"masked_fill",
       [] { masked_fill(ones({5}), a > 0, 1); },
       {"masked_fill: ", "(3, 4)", "(5,)"}},
      {"matmul of batches",
       [] {
         matmul(ones({2, 3, 4}), ones({3, 4, 5}));
       },
       {"matmul: ", "(2,)", "(3,)"}},
      {"concat",
       [] {
         concat({a, b}, 0);
       },
       {"concat: ", "(3, 4)", "(3, 5)", "axis 0"}},
      {"concat, dimensions",
       [] {
         concat({a, ones({4})});
       },
       {"concat: ", "(3, 4)", "(4,)"}},
      {"concat of nothing", [] { concat(std::span<const Tensor>()); }, {"concat: no tensors"}},
      {"stack",
       [] {
         stack({a, b});
       },
       {"stack: ", "(3, 4)", "(3, 5)"}},
      {"stack of nothing", [] { stack(std::span<const Tensor>()); }, {"stack: no tensors"}},
      {"reshape",
       [] {
         reshape(a, {5, 3});
       },
       {"reshape: ", "(3, 4)", "12 elements", "(5, 3)"}},
      {"reshape with a rest",
       [] {
         reshape(a, {5, -1});
       },
       {"reshape: ", "(3, 4)", "(5, -1)"}},
      {"reshape with two rests",
       [] {
         reshape(a, {-1, -1});
       },
       {"reshape: ", "(-1, -1)"}},
      {"expand",
       [] {
         expand(a, {2, 4});
       },
       {"expand: ", "(3, 4)", "(2, 4)"}},
      {"reshape to more than can be counted",
       [] {
         reshape(ones({4}), {(int64_t{1} << 62) + 1, 4});
       },
       {"reshape: ", "(4,)", "4 elements"}},
      {"expand to more than can be counted",
       [] {
         expand(ones({1}), {int64_t{1} << 33, int64_t{1} << 33});
       },
       {"expand: ", "(8589934592, 8589934592)"}},
      {"expand to a negative size", [] { expand(ones({1}), {-3}); }, {"expand: ", "(-3,)"}},
      {"expand to fewer", [] { expand(a, {4}); }, {"expand: ", "(3, 4)", "(4,)"}},
      {"permute", [] { permute(a, {0}); }, {"permute: 1 axes", "(3, 4)"}},
      {"sum_to", [] { sum_to(a, {2}); }, {"sum_to: ", "(3, 4)", "(2,)"}},
      {"adaptive_avg_pool2d of a matrix",
       [] { adaptive_avg_pool2d(a, 1); },
       {"adaptive_avg_pool2d: x (3, 4) is not (N, C, H, W)"}},
      {"adaptive_avg_pool2d of no pixels",
       [] {
         adaptive_avg_pool2d(ones({1, 2, 0, 3}), 1);
       },
       {"adaptive_avg_pool2d: x (1, 2, 0, 3) has planes without pixels"}},
      {"adaptive_avg_pool2d to nothing",
       [] {
         adaptive_avg_pool2d(ones({1, 2, 3, 3}), {0, 2});
       },
       {"adaptive_avg_pool2d: (1, 2, 3, 3) to 0x2", "must be positive"}},
      {"batch_norm of no values",
       [] {
         batch_norm(ones({4, 0}));
       },
       {"batch_norm: x (4, 0) has no values", "leave the batch out"}},
      {"a negative class weight",
       [] {
         cross_entropy(ones({2, 3}), zeros({2}, DType::i64), {.weight = Tensor::of({1, -1, 0})});
       },
       {"cross_entropy: a class has a negative weight, of tensor([ 1., -1.,  0.], f32)"}},
      {"the mean of integers", [] { mean(i64); }, {"mean: needs f32 or f64, got i64"}},
      {"patches",
       [] {
         patches(ones({2, 1, 8, 6}), 4);
       },
       {"patches: ", "(2, 1, 8, 6)", "4"}},
      {"item", [] { a.item(); }, {"item: ", "(3, 4)", "12 elements"}},
      {"at", [] { a.at({1}); }, {"at: 1 indices", "(3, 4)"}},
      {"at, outside",
       [] {
         a.at({1, 4});
       },
       {"at: index 4", "dimension 1", "(3, 4)"}},
      {"from",
       [] {
         Tensor::from(std::vector<float>(5), {2, 3});
       },
       {"Tensor::from: 5 values", "(2, 3)"}},
      {"ragged rows",
       [] {
         Tensor::of({{1, 2, 3}, {1, 2}});
       },
       {"Tensor::of: ", "3", "2"}},
      {"set_grad",
       [] { Tensor(f64).set_grad(ones({3}, DType::f64)); },
       {"set_grad: ", "(3,)", "(3, 4)"}},
      {"a negative size",
       [] {
         zeros({3, -2});
       },
       {"empty: ", "(3, -2)"}},
      {"too many elements",
       [] {
         zeros({int64_t{1} << 40, int64_t{1} << 40});
       },
       {"empty: ", "1099511627776"}},
      {"nine dimensions",
       [] {
         zeros({1, 1, 1, 1, 1, 1, 1, 1, 1});
       },
       {"Shape: more than 8 dimensions"}},
      {"no tensor", [] { a + Tensor(); }, {"an empty Tensor was used"}},
  });
}

BOOST_AUTO_TEST_CASE(dtypes_that_do_not_mix) {
  const auto named = [](const char* op) {
    return std::vector<const char*>{op, "dtypes f32 and f64 do not mix; cast one of them"};
  };
  check_rows({
      {"add", [] { a + f64; }, named("add: ")},
      {"sub", [] { a - f64; }, named("sub: ")},
      {"mul", [] { a* f64; }, named("mul: ")},
      {"div", [] { a / f64; }, named("div: ")},
      {"pow", [] { pow(a, f64); }, named("pow: ")},
      {"maximum", [] { maximum(a, f64); }, named("maximum: ")},
      {"where", [] { where(a > 0, a, f64); }, named("where: ")},
      {"concat",
       [] {
         concat({a, f64});
       },
       named("concat: ")},
      {"stack",
       [] {
         stack({a, f64});
       },
       named("concat: ")},
      {"huber_loss", [] { huber_loss(a, f64); }, named("huber_loss: ")},
      {"linear",
       [] {
         linear(a, ones({2, 4}, DType::f64));
       },
       named("linear: ")},
      {"means of integers", [] { mean(i64); }, {"mean: needs f32 or f64, got i64; cast"}},
      {"quotients of integers", [] { i64 / i64; }, {"div: needs f32 or f64, got i64; cast"}},
      {"functions of integers", [] { exp(i64); }, {"exp: needs f32 or f64, got i64; cast"}},
      {"a condition that is a number",
       [] { where(a, a, a); },
       {"where: the condition is f32, not bool"}},
      {"a gradient for integers",
       [] { Tensor(i64).set_requires_grad(); },
       {"set_requires_grad: ", "i64"}},
      {"elements as another type",
       [] { a.data<double>(); },
       {"data: the tensor's dtype is f32, not f64"}},
  });
}

BOOST_AUTO_TEST_CASE(axes_that_are_not_there) {
  const auto named = [](const char* op) {
    return std::vector<const char*>{op, "axis 2 is out of range for 2 dimensions"};
  };
  check_rows({
      {"sum", [] { sum(a, {2}); }, named("sum: ")},
      {"mean", [] { mean(a, {2}); }, named("mean: ")},
      {"var", [] { var(a, {2}); }, named("var: ")},
      {"max", [] { max(a, {2}); }, named("max: ")},
      {"min", [] { min(a, {2}); }, named("min: ")},
      {"argmax", [] { argmax(a, 2); }, named("argmax: ")},
      {"softmax", [] { softmax(a, 2); }, named("softmax: ")},
      {"log_softmax", [] { log_softmax(a, 2); }, named("log_softmax: ")},
      {"logsumexp", [] { logsumexp(a, 2); }, named("logsumexp: ")},
      {"transpose", [] { transpose(a, 0, 2); }, named("transpose: ")},
      {"permute",
       [] {
         permute(a, {0, 2});
       },
       named("permute: ")},
      {"flatten", [] { flatten(a, 0, 2); }, named("flatten: ")},
      {"flatten of a scalar", [] { flatten(ones({}), 1); }, {"flatten: "}},
      {"squeeze", [] { squeeze(a, 2); }, named("squeeze: ")},
      {"slice", [] { slice(a, 2, 0, 1); }, named("slice: ")},
      {"select", [] { select(a, 2, 0); }, named("select: ")},
      {"concat",
       [] {
         concat({a, a}, 2);
       },
       named("concat: ")},
      {"unbind", [] { unbind(a, 2); }, named("unbind: ")},
      {"gather", [] { gather(a, 2, i64); }, named("gather: ")},
      {"size", [] { a.size(2); }, named("size: ")},
      {"unsqueeze",
       [] { unsqueeze(a, 3); },
       {"unsqueeze: axis 3 is out of range for 3 dimensions"}},
      {"stack",
       [] {
         stack({a, a}, -4);
       },
       {"stack: axis -4 is out of range for 3 dimensions"}},
      {"an axis twice",
       [] {
         sum(a, {1, -1});
       },
       {"sum: axis -1 is named twice"}},
      {"an order that is none",
       [] {
         permute(a, {0, 0});
       },
       {"permute: axis 0 is named twice"}},
      {"axes the wrong way",
       [] {
         flatten(ones({2, 3, 4}), 2, 1);
       },
       {"flatten: axes 2 to 1", "(2, 3, 4)"}},
      {"a slice beyond the end",
       [] { slice(a, 1, 2, 5); },
       {"slice: 2 to 5 of axis 1 of shape (3, 4) is beyond its size 4"}},
      {"a slice backwards",
       [] { slice(a, 1, 3, 2); },
       {"slice: 3 to 2", "(3, 4)", "the end lies before the beginning"}},
      {"a step of 0", [] { slice(a, 1, 0, 2, 0); }, {"slice: a step of 0, must be positive"}},
      {"an index beyond the end", [] { select(a, 1, 4); }, {"select: index 4", "axis 1", "(3, 4)"}},
      {"an index before the start", [] { select(a, 1, -5); }, {"select: index -5", "(3, 4)"}},
      {"the mean of nothing",
       [] {
         mean(ones({3, 0}), {1});
       },
       {"mean: of no elements", "(3, 0)"}},
      {"the largest of nothing", [] { max(ones({0})); }, {"max: of no elements", "(0,)"}},
      {"where nothing is largest",
       [] {
         argmax(ones({3, 0}), 1);
       },
       {"argmax: of no elements", "(3, 0)"}},
      {"the variance of one",
       [] {
         var(ones({3, 1}), {1});
       },
       {"var: groups of 1 elements", "(3, 1)"}},
      {"a range without numbers", [] { clamp(a, 2, 1); }, {"clamp: ", "2", "1"}},
  });
}

BOOST_AUTO_TEST_CASE(labels_and_indices_out_of_range) {
  const Tensor words = Tensor::of({2, 5, 1}, DType::i64);
  check_rows({
      {"cross_entropy",
       [=] { cross_entropy(a, words); },
       {"cross_entropy: label 5 of row 1", "[0, 4)"}},
      {"embedding", [=] { embedding(a, words); }, {"embedding: index 5", "[0, 3)"}},
      {"one_hot", [=] { one_hot(words, 5); }, {"one_hot: index 5", "[0, 5)"}},
      {"rows of a dataset",
       [] { digits()[Tensor::of({1797}, DType::i64)]; },
       {"Dataset: index 1797 at (0,)", "[0, 1797)"}},
      {"index_select", [=] { index_select(a, 0, words); }, {"index_select: index 5", "[0, 3)"}},
      {"index_add",
       [=] {
         index_add(a, 1, arange(2), ones({3, 3}));
       },
       {"index_add: indices (2,) for src (3, 3)", "axis 1"}},
      {"lengths",
       [] {
         length_mask(Tensor::of({2, 7}, DType::i64), 5);
       },
       {"lengths: sequence 1 has length 7 of 5"}},
      {"lengths as numbers",
       [] {
         length_mask(Tensor::of({2, 3}), 5);
       },
       {"lengths: ", "i64", "f32"}},
  });
}

BOOST_AUTO_TEST_CASE(sweeps_that_cannot_be) {
  Tensor w = ones({3}).set_requires_grad().set_name("fc.weight"), factor = ones({3});
  const auto tape_of = [&](auto f) {
    return [=] {
      Tape tape;
      f(tape);
    };
  };
  check_rows({
      {"a loss of several elements",
       tape_of([=](Tape& t) { t.backward(w * 2); }),
       {"backward: ", "(3,), not one element", "sum, mean"}},
      {"the gradient of several elements",
       tape_of([=](Tape& t) { t.gradient(w * 2, w); }),
       {"gradient: ", "(3,), not one element", "sum, mean"}},
      {"backward twice",
       tape_of([=](Tape& t) {
         const Tensor y = sum(square(w));
         t.backward(y);
         t.backward(y);
       }),
       {"sum: a second sweep", "keep_graph"}},
      {"a saved tensor that changed",
       tape_of([=](Tape& t) {
         Tensor f = factor;
         const Tensor y = sum(w * f);
         fill_(f, 2);
         t.backward(y);
       }),
       {"mul: (3,) f32 was kept for the backward and then changed in place", "clone"}},
      {"a loss without parameters",
       tape_of([=](Tape& t) { t.backward(sum(factor)); }),
       {"backward: ", "not recorded", "none of its inputs requires a gradient"}},
      {"a loss from before the tape",
       [=] {
         const Tensor y = sum(w);
         Tape tape;
         tape.backward(y);
       },
       {"backward: ", "not recorded", "no tape was recording"}},
      {"a loss of another tape",
       tape_of([=](Tape& t) {
         const Tensor y = sum(w);
         Tape inner;
         (void)t;
         inner.backward(y);
       }),
       {"backward: ", "a result of another tape"}},
      {"no loss",
       tape_of([](Tape& t) { t.backward(Tensor()); }),
       {"backward: given an empty Tensor"}},
      {"a start of another shape",
       tape_of([=](Tape& t) { t.backward(w * 2, {.dy = ones({2})}); }),
       {"backward: options.dy is (2,) f32", "(3,) f32"}},
      {"a gradient with no path",
       tape_of([=](Tape& t) { t.gradient(sum(w), factor); }),
       {"gradient: no path", "(3,) f32", "does not require a gradient"}},
      {"a parameter changed in place",
       tape_of([=](Tape&) {
         Tensor x = w;
         fill_(x, 0);
       }),
       {"fill_: fc.weight (3,)", "NoRecord"}},
      {"a node that is not there", tape_of([](Tape& t) { t.info(0); }), {"info: node 0 of 0"}},
  });
}

BOOST_AUTO_TEST_CASE(layers_and_what_they_are_given) {
  Linear linear_layer(4, 2);
  RnnCell cell(4, 5);
  Rnn rnn(4, 5);
  MultiHeadAttention attention(4, 2);
  BatchNorm norm(4);
  LayerNorm layer_norm_layer(4);
  Embedding table(3, 4);
  Conv2d conv(2, 4, 3);
  Residual residual(Linear(4, 2));
  Transformer transformer(5, 4, 3, {.dim = 8, .heads = 2, .depth = 1, .mlp_dim = 8});
  check_rows({
      {"Linear", [&] { linear_layer(b); }, {"linear: x (3, 5) with weight (2, 4)"}},
      {"Conv2d",
       [&] {
         conv(ones({1, 3, 5, 5}));
       },
       {"conv2d: x (1, 3, 5, 5)", "(4, 2, 3, 3)"}},
      {"Embedding", [&] { table(a); }, {"embedding: the indices are f32, not i64"}},
      {"RnnCell",
       [&] {
         cell(b, ones({3, 5}));
       },
       {"RnnCell: 5 features in x (3, 5), not 4"}},
      {"RnnCell's state",
       [&] {
         cell(a, ones({3, 4}));
       },
       {"RnnCell: the first state is (3, 4), must be (3, 5) for x (3, 4)"}},
      {"Rnn", [&] { rnn(a); }, {"Rnn: x must be (N, T, D), is (3, 4)"}},
      {"Rnn without steps",
       [&] {
         rnn(ones({3, 0, 4}));
       },
       {"Rnn: no steps in x (3, 0, 4)"}},
      {"Rnn's lengths",
       [&] {
         rnn(ones({3, 2, 4}), Tensor::of({1, 2}, DType::i64));
       },
       {"Rnn: 2 lengths for 3 sequences"}},
      {"Rnn's first state",
       [&] {
         rnn(ones({3, 2, 4}), {}, ones({1, 5}));
       },
       {"Rnn: the first state is (1, 5), must be (3, 5) for x (3, 2, 4)"}},
      {"attention", [&] { attention(b); }, {"MultiHeadAttention: needs (N, T, 4), got (3, 5)"}},
      {"attention's mask",
       [&] {
         attention(ones({2, 3, 4}), {.valid = ones({2, 5}, DType::boolean)});
       },
       {"clear_padding: valid is bool (2, 5)", "(2, 3, 4)"}},
      {"BatchNorm with one value a channel",
       [&] {
         norm(ones({1, 4}));
       },
       {"batch_norm: x (1, 4) has 1 value a channel", "larger batch", "eval()", "LayerNorm"}},
      {"BatchNorm's mask",
       [&] { norm(a, ones({5}, DType::boolean)); },
       {"batch_norm: the mask is bool (5,), must be bool (3,) for x (3, 4)"}},
      {"GroupNorm's groups", [] { GroupNorm(3, 4); }, {"GroupNorm: 3 groups of 4 channels"}},
      {"GroupNorm's channels",
       [&] { GroupNorm(1, 5)(a); },
       {"GroupNorm: x (3, 4) does not have 5 channels in axis 1"}},
      {"GroupNorm of one value a group",
       [&] { GroupNorm(4, 4)(a); },
       {"group_norm: 4 groups of x (3, 4) have 1 value each", "fewer groups"}},
      {"InstanceNorm of one position",
       [&] { InstanceNorm(4)(a); },
       {"group_norm: 4 groups of x (3, 4) have 1 value each"}},
      {"GroupNorm's mask",
       [&] { GroupNorm(2, 4)(a, ones({4}, DType::boolean)); },
       {"group_norm: the mask is bool (4,), must be bool (3,) for x (3, 4)"}},
      {"RmsNorm", [&] { RmsNorm(4)(b); }, {"rms_norm: x (3, 5)", "(4,)"}},
      {"RmsNorm's eps", [&] { RmsNorm(4, {.eps = kNan})(a); }, {"rms_norm: eps is nan"}},
      {"LayerNorm", [&] { layer_norm_layer(b); }, {"layer_norm: x (3, 5)", "(4,)"}},
      {"LayerNorm's eps", [] { LayerNorm(4, {.eps = kNan})(a); }, {"layer_norm: eps is nan"}},
      {"Residual", [&] { residual(a); }, {"add: shapes (3, 4) and (3, 2)"}},
      {"Transformer, too long",
       [&] {
         transformer(ones({2, 6, 4}));
       },
       {"Transformer: ", "6", "5"}},
      {"Transformer, a sequence without steps",
       [&] {
         transformer.forward(ones({2, 3, 4}), Tensor::of({3, 0}, DType::i64));
       },
       {"Transformer: a sequence of x (2, 3, 4) has length 0"}},
      {"Linear's sizes", [] { Linear(0, 2); }, {"Linear: 0 to 2 features"}},
      {"heads that do not divide",
       [] { MultiHeadAttention(6, 4); },
       {"MultiHeadAttention: 6 features do not divide into 4 heads"}},
      {"groups that do not divide",
       [] { Conv2d(4, 6, 3, {.groups = 4}); },
       {"Conv2d: 4 to 6 channels do not divide into 4 groups"}},
      {"a stride of 0",
       [] {
         Conv2d(2, 2, 3, {.stride = 0})(ones({1, 2, 5, 5}));
       },
       {"conv2d: stride 0x0"}},
      {"Dropout", [] { Dropout{kNan}; }, {"Dropout: the probability nan"}},
      {"a norm's name", [] { norm_from("group"); }, {"norm: 'group'", "batch", "layer", "none"}},
      {"a learning rate of NaN",
       [&] { Adam(linear_layer.parameters(), {.lr = kNan}); },
       {"Optimizer: the learning rate is nan"}},
      {"a negative learning rate",
       [&] { Sgd(linear_layer.parameters(), {.lr = -0.1}); },
       {"Optimizer: the learning rate is -0.1"}},
  });
}

BOOST_AUTO_TEST_CASE(data_that_does_not_fit) {
  const Dataset five = digits()[arange(5)];
  const auto with = [&](const Tensor& x, const Tensor& y) { return Dataset{"mine", x, y, 10}; };
  check_rows({
      {"an empty dataset",
       [=] { DataLoader{five[arange(0)]}; },
       {"DataLoader: the dataset digits is empty"}},
      {"labels for other images",
       [=] {
         DataLoader(with(ones({5, 1, 2, 2}), arange(4)));
       },
       {"DataLoader: ", "mine", "(5, 1, 2, 2)", "(4,)"}},
      {"labels of another dtype",
       [=] {
         DataLoader(with(ones({5, 1, 2, 2}), ones({5})));
       },
       {"DataLoader: mine has 10 classes", "f32", "i64"}},
      {"nothing to put aside",
       [=] { train_test_split(five, 0, 1); },
       {"train_test_split: 0 of digits's 5 rows"}},
      {"one fold", [=] { kfold(five, 1, 1); }, {"kfold: 1 folds of digits's 5 rows"}},
      {"images without contrast",
       [=] {
         Split equal{with(ones({5, 1, 2, 2}), arange(5)), with(ones({5, 1, 2, 2}), arange(5))};
         standardize(equal);
       },
       {"standardize: all training values of mine are equal"}},
  });
}

#ifndef GRADUS_SANITIZED  // sanitizers end the program
BOOST_AUTO_TEST_CASE(more_than_there_is_memory) {
  check_rows({{"128 TiB",
               [] { empty({int64_t{1} << 45}); },
               {"empty: there is no memory for shape (35184372088832,) f32"}}});
}
#endif

// Pixels in another order in memory are the same pixels.
BOOST_AUTO_TEST_CASE(a_dataset_may_hold_views) {
  const Tensor x = rand({4, 1, 2, 3});
  const Dataset turned{"turned", transpose(x), arange(4), 4};
  const Batch batch = DataLoader(turned, {.batch_size = 4, .shuffle = false}).epoch(0).batch(0);
  BOOST_TEST(batch.x.to_vector<float>() == transpose(x).to_vector<float>());
}
