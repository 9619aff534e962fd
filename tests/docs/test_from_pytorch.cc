// The lines of docs/from_pytorch.md, compiled and run. What they give is compared with PyTorch's
// elsewhere (tests/reference).
#define BOOST_TEST_MODULE from_pytorch
#include <gradus/gradus.h>

#include <filesystem>
#include <iostream>
#include <regex>

#include "tests/checks.h"

using namespace gradus;

namespace {

/// What is only to be computed.
template <class... T>
void use(const T&...) {}

const Tensor x0 = Tensor::from(std::vector<float>{1, 2, 3, 4, 5, 6}, {2, 3});
const Tensor a = Tensor::from(std::vector<float>{0.5, 1, 2, 4, 3, 0.25}, {2, 3});
const Tensor b = Tensor::from(std::vector<float>{1, 1, 3, 2, 5, 0.5}, {2, 3});
const Tensor mask = less(a, 2), other = greater(a, 0.5);
const Tensor labels = Tensor::from(std::vector<int64_t>{2, 0}, {2});

std::string text_of(const std::string& path) { return read_file(GRADUS_SOURCE_DIR + path); }

/// Without blanks and line breaks, as the formatter may put them elsewhere.
std::string dense(const std::string& text) {
  return std::regex_replace(text, std::regex("\\s"), "");
}

}  // namespace

BOOST_AUTO_TEST_CASE(every_line_on_the_right_is_here) {
  const std::string code = dense(text_of("/tests/docs/test_from_pytorch.cc"));
  std::istringstream page(text_of("/docs/from_pytorch.md"));
  int rows = 0, lines = 0;
  for (std::string line; std::getline(page, line);) {
    const size_t column = line.starts_with("| ") ? line.find(" | ", 2) : line.npos;
    if (column == line.npos || line.starts_with("| PyTorch |")) continue;
    ++rows;
    const std::string right = line.substr(column);
    const std::regex quoted("`([^`]+)`");
    for (std::sregex_iterator one(right.begin(), right.end(), quoted), end; one != end; ++one) {
      ++lines;
      BOOST_TEST((code.find(dense((*one)[1])) != code.npos), (*one)[1] << " is compiled nowhere");
    }
  }
  BOOST_TEST(rows >= 150);
  BOOST_TEST(lines >= 200);
}

BOOST_AUTO_TEST_CASE(tensors) {
  const std::vector<float> values{1, 2, 3, 4, 5, 6};
  const Tensor x = x0, s = sum(x);
  use(Tensor::of({1, 2, 3}), Tensor::from(values, {2, 3}));
  use(zeros({2, 3}), ones({2, 3}), full({2, 3}, 7), zeros({3}, DType::f64), zeros_like(x), eye(3));
  use(arange(5), arange(2, 9, 3), linspace(0, 1, 5));
  use(randn({2, 3}), rand({2, 3}), randperm(5));
  manual_seed(7);
  Generator generator(7);
  use(x.shape(), x.size(-1), x.ndim(), x.numel(), s.item(), x.at({1, 2}), x.to_vector<float>());
  use(cast(x, DType::f64), cast(x, DType::i64), cast(x, DType::boolean));
  use(clone(x), detach(x), contiguous(x));
  std::cout << x << "\n";
  fmt::print("{}\n", x);
}

BOOST_AUTO_TEST_CASE(shapes_and_elements) {
  Tensor x = x0;
  const Tensor rows = Tensor::from(std::vector<int64_t>{1, 0, 1}, {3});
  const Tensor index = Tensor::from(std::vector<int64_t>{0, 2, 1, 0}, {2, 2}), src = ones({2, 2});
  use(reshape(x, {3, -1}), reshape(x, {6}), flatten(x, 1));
  use(unsqueeze(x, 0), squeeze(x, 0), squeeze(x));
  use(transpose(x), transpose(x, 0, 1), permute(x, {1, 0}), expand(unsqueeze(x, 0), {4, -1, 3}));
  use(select(x, 0, 0), select(x, 1, 1), slice(x, 1, 0, 2), slice(x, 0, 0, 2, 2));
  use(slice(x, 0, 1, x.size(0)));
  Tensor column = select(x, 1, 1);
  column = select(x, 1, 1);
  const double v = 7;
  fill_(column, v);
  use(index_select(x, 0, rows), masked_select(x, mask));
  x = masked_fill(x, mask, 0);
  use(concat({a, b}, 1), stack({a, b}), split(x, 1, 0), chunk(x, 2, 0), unbind(x, 0));
  use(flip(x, 1), roll(x, 1, 1), tile(x, {2, 1}), repeat_interleave(x, 2, 0));
  use(pad(x, {1, 2}), pad(x, {1, 1}, PadMode::reflect), tril(x), triu(x, 1));
  use(gather(x, 1, index), scatter_add(x, 1, index, src));
  use(where(mask, a, b), where(mask, a, 0), nonzero(mask), one_hot(labels, 3));
}

BOOST_AUTO_TEST_CASE(arithmetic) {
  const Tensor x = x0, low = zeros({3}), high = full({3}, 2);
  Tensor y = clone(x);
  use(a + b, 2 * a, 1 / a, -a, pow(a, 2), pow(2, a), pow(a, b));
  y += a;
  {
    const NoRecord pause;
    copy_(y, y + a);
  }
  use(equal(a, b), not_equal(a, b), a < b, a >= 0);
  const Tensor loss = mean(a);
  double best = 10;
  if (loss.item() < best) best = loss.item();
  BOOST_TEST(best < 10);
  use(~mask, mask & other, logical_or(mask, other));
  use(maximum(a, b), maximum(a, 0), clamp(a, 0, 1), clamp(a, low, high));
  use(exp(a), log(a), sqrt(a), rsqrt(a), log1p(a), expm1(a), abs(a), sign(a), square(a));
  use(sin(a), cos(a), tanh(a), erf(a), round(a), floor(a), ceil(a));
  use(a + 0.1 * (b - a), x + a * b, not_equal(a, a), all_finite(a));
}

BOOST_AUTO_TEST_CASE(reductions_and_order) {
  const Tensor x = x0;
  use(sum(x), sum(x, 1), sum(x, {0, 1}), mean(x, -1, true));
  use(var(x, 0), var(x, 0, false, 0), stddev(x, 0), max(x, 1), min(x, 1), max_with_indices(x, 1));
  use(argmax(x, 1), argmin(x, 1), prod(x, 1), cumsum(x, 1), norm(x), norm(x, 1, 0));
  use(logsumexp(x, 1), logsumexp(x, {0, 1}), any(mask), all(mask, 1));
  use(sort(x, 1), argsort(x, 1, true), topk(x, 2, 1));
  BOOST_TEST(!(max(abs(a - b)).item() < 1e-6));
}

BOOST_AUTO_TEST_CASE(products) {
  const Tensor x = x0, p = randn({4, 2, 3}), q = randn({4, 3, 5}), u = randn({3}), v = randn({3});
  const Tensor w = randn({4, 3}), bias = randn({4});
  use(matmul(a, b, false, true), matmul(p, q), dot(u, v), outer(u, v), matmul(a, v));
  use(einsum("ij,kj->ik", {a, b}), linear(x, w, bias));
}

BOOST_AUTO_TEST_CASE(activations_and_losses) {
  const Tensor x = x0, logits = x0, probabilities = softmax(a, 1), t = cast(mask, DType::f32);
  const Tensor log_p = log_softmax(x, 1), q = softmax(b, 1);
  use(relu(x), gelu(x), silu(x), softplus(x), gelu(x, GeluForm::tanh), leaky_relu(x), elu(x));
  use(clamp(x, -1, 1), clamp(x, 0, 6), sigmoid(x), -softplus(-x));
  use(softmax(x, 1), log_softmax(x, 1), softmax(-x, 1), x / maximum(norm(x, 2, 1, true), 1e-12));
  use(cross_entropy(logits, labels), cross_entropy(logits, labels, {.label_smoothing = 0.1}),
      cross_entropy(logits, probabilities));
  use(mse_loss(a, b), l1_loss(a, b, Reduction::sum), smooth_l1_loss(a, b), huber_loss(a, b));
  use(binary_cross_entropy_with_logits(a, t), nll_loss(log_p, labels), kl_div(log_p, q));
  use(cosine_similarity(a, b), dropout(x, 0.5, true));
}

BOOST_AUTO_TEST_CASE(layers) {
  const Tensor q = randn({1, 2, 5, 4});
  use(Linear(8, 4), Linear(8, 4, {.bias = false}));
  use(Conv2d(3, 8, 3, {.padding = 1}), Conv2d(3, 8, {3, 1}, {.padding = Padding::same()}));
  use(BatchNorm(8), LayerNorm({8}), GroupNorm(2, 8), RmsNorm({8}), InstanceNorm(8));
  use(Embedding(10, 8), Lstm(4, 8, {.num_layers = 2, .bidirectional = true}), GruCell(4, 8));
  use(MultiHeadAttention(8, 2), scaled_dot_product_attention(q, q, q, {.causal = true}));
  use(EncoderBlock({.dim = 8, .heads = 2, .mlp_dim = 16}));
  use(Dropout(0.5), Flatten(), Relu(), MaxPool2d(2), AdaptiveAvgPool2d(1));
  Sequential model = Sequential(Linear(8, 4), Relu());
  use(Parameter({3}, Init::zeros()), Buffer(zeros({3})));
  use(model.parameters(), model.named_parameters(), model.named_modules());
  use(model.parameter_count());
  model.train();
  model.eval();
  model.to(DType::f64);
  Sequential copy = model;
  fmt::print("{}\n", model.tree());
  BOOST_TEST(copy.parameter_count() == 36);
}

BOOST_AUTO_TEST_CASE(gradients) {
  Tensor x = randn({3}, DType::f64);
  x.set_requires_grad();
  const auto loss_of = [&] { return sum(tanh(x)); };
  {
    Tape tape;
    const Tensor loss = loss_of();
    use(tape.gradient(loss, x, CreateGraph::yes));
    tape.backward(loss, {.keep_graph = true});
    tape.backward(loss);
    use(x.grad());
  }
  Tape tape;
  const Tensor loss = loss_of();
  use(tape.gradient(loss, x));
}

BOOST_AUTO_TEST_CASE(functions) {
  Tensor x = randn({3}, DType::f64);
  const Tensor v = ones({3}, DType::f64);
  const Function f = [](const Tensor& at) { return tanh(at); };
  use(jvp(f, x, v), vjp(f, x, v), jacobian(f, x));
  x.set_requires_grad();
  BOOST_TEST(gradcheck(f, {x}).ok());
}

BOOST_AUTO_TEST_CASE(functions_of_one_result) {
  const Tensor x = randn({3}, DType::f64);
  const Function f = [](const Tensor& at) { return sum(tanh(at)); };
  use(hessian(f, x));
}

static Tensor flip_some(const Tensor& x, Generator& generator) {
  return random_flip(x, 0.5, -1, generator);
}

BOOST_AUTO_TEST_CASE(training) {
  Sequential model(Linear(3, 4), Relu(), Linear(4, 3));
  const Tensor x = randn({40, 3}), y = randint(0, 3, {40});
  const Dataset data = Dataset{.x = x, .y = y};
  use(Sgd(model.parameters(), {.lr = 0.1, .momentum = 0.9}));
  Adam optimizer = Adam(model.parameters(), {.lr = 1e-3, .amsgrad = true});
  use(AdamW(model.parameters(), {}), Rmsprop(model.parameters(), {}),
      Adagrad(model.parameters(), {}));
  use(Lbfgs(model.parameters(), {.line_search_fn = LineSearch::strong_wolfe}));
  use(AdamW(weight_decay_groups(model, 0.01), {}));
  use(DataLoader(data, {.batch_size = 32}), train_test_split(data, 0.2, 1));
  const DataLoader loader(data, {.batch_size = 8, .prefetch = 2});
  const Schedule schedule = cosine_schedule(100);
  use(one_cycle_schedule(100), multi_step_schedule({30, 60}, 0.1), exponential_schedule(0.99));
  ReduceOnPlateau plateau;
  const uint64_t epoch = 0;
  int64_t step = 0;
  for (const Batch& batch : loader.epoch(epoch)) {
    Tape tape;
    const Tensor loss = cross_entropy(model(batch.x), batch.y);
    optimizer.zero_grad();
    tape.backward(loss);
    clip_grad_norm(model.parameters(), 1);
    clip_grad_value(model.parameters(), 1);
    optimizer.set_lr_factor(schedule(step));
    optimizer.step();
    ++step;
  }
  BOOST_TEST(optimizer.lr() < 1e-3);
  const LoaderOptions options{.batch_size = 2,
                              .last = LastBatch::drop,
                              .transform = [](const Batch& batch, Generator& generator) {
                                Batch flipped = batch;
                                flipped.x = flip_some(batch.x, generator);
                                return flipped;
                              }};
  const Dataset images{.x = ones({4, 1, 2, 2}), .y = zeros({4}, DType::i64)};
  use(DataLoader(images, options).epoch(0).batch(0));
  AveragedModel average(model, 0.99);
  average.update_parameters(model);
  use(Standardizer::fit(x));
  const Tensor predicted = argmax(model(x), 1), scores = select(model(x), 1, 0);
  const Tensor positive = equal(arange(40), 7);
  use(confusion_matrix(predicted, y, 3), roc_auc(scores, positive));
  use(pad_sequence({a, b}), categorical(x));
  const Tensor p = sigmoid(x);
  use(bernoulli(p));

  const auto folder = std::filesystem::temp_directory_path() / "gradus-test-from-pytorch";
  std::filesystem::create_directory(folder);
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(folder);
  std::string path = "model.safetensors";
  model.save(path);
  model.load(path);
  model.load(path, {.strict = false});
  Checkpoint().add("model", model).add("optimizer", optimizer).save(path);
  save_tensors("x.npy", {{"x", x}});
  use(load_tensors("x.npy"));
  CsvLog log("log.csv", {"step", "loss"});
  log.write(step, 0.5);
  model.freeze();
  path = "table.csv";
  save_csv(path, {{"x", select(x, 1, 0)}});
  use(load_csv(path));
  std::filesystem::current_path(before);
  std::filesystem::remove_all(folder);
}
