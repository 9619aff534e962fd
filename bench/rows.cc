// The rows of the race on Gradus: `rows THREADS` answers the questions of contestant.h.
#include <gradus/gradus.h>

#include <cstdlib>

#include "bench/contestant.h"
#include "bench/values.h"

using namespace gradus;
using namespace gradus::bench;

namespace {

Tensor input(uint32_t seed, const Shape& shape) {
  Tensor x = empty(shape);
  fill_input(seed, x.numel(), x.mutable_data<float>());
  return x;
}

Tensor labels(uint32_t seed, const Shape& shape, int64_t classes) {
  Tensor y = empty(shape, DType::i64);
  fill_labels(seed, y.numel(), classes, y.mutable_data<int64_t>());
  return y;
}

template <class Model>
std::shared_ptr<Model> filled(Model model) {
  uint32_t index = 0;
  for (auto& [name, parameter] : model.named_parameters())
    fill_parameter(++index, name, parameter.ndim(), parameter.size(0), parameter.numel(),
                   parameter.template mutable_data<float>());
  return std::make_shared<Model>(std::move(model));
}

/// Forward, backward and update, with cross entropy as the loss.
template <class Model>
Work training(std::shared_ptr<Model> model, std::shared_ptr<Optimizer> optimizer, Tensor x,
              Tensor y) {
  const auto last = std::make_shared<Tensor>();
  return {[=] {
            Tape tape;
            *last = cross_entropy((*model)(x), y);
            optimizer->zero_grad();
            tape.backward(*last);
            optimizer->step();
          },
          [=] { return std::vector<double>{last->item()}; }};
}

/// Forward, and backward to x and to the module's parameters.
Work kernel(std::shared_ptr<UnaryModule> module, const Shape& x_shape, const Shape& y_shape) {
  std::vector<Tensor> leaves = module->parameters();
  leaves.insert(leaves.begin(), input(100, x_shape).set_requires_grad());
  return {[=, dy = input(101, y_shape)]() mutable {
            for (Tensor& leaf : leaves) leaf.set_grad({});
            Tape tape;
            tape.backward(module->forward(leaves[0]), {.dy = dy});
          },
          [=] {
            std::vector<double> some;
            for (const Tensor& leaf : leaves)
              for (int64_t i = 0; i < 5; ++i)
                some.push_back(double{leaf.grad().data<float>()[leaf.numel() / 5 * i]});
            return some;
          }};
}
template <class Module>
Work kernel(Module module, const Shape& shape) {
  return kernel(filled(std::move(module)), shape, shape);
}

Work mlp(std::vector<int64_t> sizes, int64_t batch, Norm norm, bool adam) {
  const int64_t inputs = sizes.front(), classes = sizes.back();
  const auto model =
      filled(Mlp(inputs, classes, {.hidden = {sizes.begin() + 1, sizes.end() - 1}, .norm = norm}));
  std::shared_ptr<Optimizer> optimizer;
  if (adam)
    optimizer = std::make_shared<Adam>(model->parameters());
  else
    optimizer = std::make_shared<Sgd>(model->parameters());
  return training(model, optimizer, input(100, {batch, inputs}), labels(101, {batch}, classes));
}

Work cnn(Norm norm) {
  const auto model = filled(Sequential(Conv2d(1, 16, 3, {.padding = 1}),
                                       image_norm(norm, 16, 28, 28, Activation::relu), MaxPool2d(2),
                                       Conv2d(16, 32, 3, {.padding = 1}),
                                       image_norm(norm, 32, 14, 14, Activation::relu), MaxPool2d(2),
                                       Flatten(), Linear(32 * 7 * 7, 10)));
  return training(model, std::make_shared<Sgd>(model->parameters(), SgdOptions{.momentum = 0.9}),
                  input(100, {64, 1, 28, 28}), labels(101, {64}, 10));
}

/// A recurrent cell's last state, and Linear.  x: (T, N, D)
template <class Cell>
class LastState : public UnaryModule {
 public:
  LastState(int64_t inputs, int64_t hidden) : cells_(inputs, hidden), head_(hidden, 10) {}
  Tensor forward(const Tensor& x) override { return head_(cells_(transpose(x, 0, 1)).h); }
  void visit(Visitor& visitor) override {
    visitor.module("cells", cells_);
    visitor.module("head", head_);
  }
  std::string describe() const override { return "LastState"; }

 private:
  Recurrent<Cell> cells_;
  Linear head_;
};

template <class Cell>
Work last_state(int64_t steps, int64_t batch, int64_t inputs, int64_t hidden) {
  const auto model = filled(LastState<Cell>(inputs, hidden));
  return training(model, std::make_shared<Adam>(model->parameters()),
                  input(100, {steps, batch, inputs}), labels(101, {batch}, 10));
}

/// A decoder's block with the norms before its parts.  x: (N, T, dim)
class GptBlock : public UnaryModule {
 public:
  GptBlock(int64_t dim, int64_t heads)
      : norm1_(dim), norm2_(dim), attention_(dim, heads), up_(dim, 4 * dim), down_(4 * dim, dim) {}
  Tensor forward(const Tensor& x) override {
    const Tensor h = x + attention_(norm1_(x), {.causal = true});
    return h + down_(gelu(up_(norm2_(h))));
  }
  void visit(Visitor& visitor) override {
    visitor.module("norm1", norm1_);
    visitor.module("attention", attention_);
    visitor.module("norm2", norm2_);
    visitor.module("up", up_);
    visitor.module("down", down_);
  }
  std::string describe() const override { return "GptBlock"; }

 private:
  LayerNorm norm1_, norm2_;
  MultiHeadAttention attention_;
  Linear up_, down_;
};

/// Next-token scores.  x: (N, T) of tokens   y: (N T, tokens)
class Gpt : public UnaryModule {
 public:
  Gpt(int64_t tokens, int64_t dim, int64_t layers, int64_t heads, int64_t steps)
      : token_(tokens, dim), position_(steps, dim), norm_(dim), head_(dim, tokens) {
    for (int64_t i = 0; i < layers; ++i) blocks_.emplace_back(dim, heads);
  }
  Tensor forward(const Tensor& x) override {
    Tensor h = token_(x) + position_.weight;
    for (GptBlock& block : blocks_) h = block(h);
    return flatten(head_(norm_(h)), 0, 1);
  }
  void visit(Visitor& visitor) override {
    visitor.module("token", token_);
    visitor.module("position", position_);
    for (size_t i = 0; i < blocks_.size(); ++i)
      visitor.module(fmt::format("blocks.{}", i), blocks_[i]);
    visitor.module("norm", norm_);
    visitor.module("head", head_);
  }
  std::string describe() const override { return "Gpt"; }

 private:
  Embedding token_, position_;
  std::vector<GptBlock> blocks_;
  LayerNorm norm_;
  Linear head_;
};

Work gpt() {
  const auto model = filled(Gpt(65, 128, 4, 4, 128));
  return training(model, std::make_shared<AdamW>(model->parameters()), labels(100, {16, 128}, 65),
                  labels(101, {16 * 128}, 65));
}

Work chain_of_adds() {
  const auto a = std::make_shared<Tensor>(input(100, {16}).set_requires_grad());
  return {[=] {
            Tape tape;
            Tensor b = *a;
            for (int i = 0; i < 100; ++i) b = b + *a;
            a->set_grad({});
            tape.backward(sum(b));
          },
          [=] { return std::vector<double>{a->grad().at({3})}; }};
}

struct Softmax : ActivationModule {
  Softmax() : ActivationModule("Softmax", [](const Tensor& x) { return softmax(x); }) {}
};

Work conv(int64_t in, int64_t out, int64_t size, int64_t batch) {
  return kernel(filled(Conv2d(in, out, 3, {.padding = 1})), {batch, in, size, size},
                {batch, out, size, size});
}

Rows rows() {
  Rows rows{{"tiny mlp 2-16-16-2 b4 sgd", [] {
               return mlp({2, 16, 16, 2}, 4, Norm::none, false);
             }}};
  const std::pair<const char*, Norm> norms[] = {
      {"none", Norm::none}, {"bn", Norm::batch}, {"ln", Norm::layer}};
  for (const auto& [name, norm] : norms) {
    rows.emplace_back(fmt::format("mlp 64-128-128-10 b32 adam {}", name), [n = norm] {
      return mlp({64, 128, 128, 10}, 32, n, true);
    });
    rows.emplace_back(fmt::format("mlp 784-1000-1000-10 b128 adam {}", name), [n = norm] {
      return mlp({784, 1000, 1000, 10}, 128, n, true);
    });
    rows.emplace_back(fmt::format("cnn 28x28 16-32 b64 sgdm {}", name),
                      [n = norm] { return cnn(n); });
  }
  rows.emplace_back("rnncell 8-64 T8 b32 adam", [] { return last_state<RnnCell>(8, 32, 8, 64); });
  rows.emplace_back("lstmcell 28-128 T28 b64 adam",
                    [] { return last_state<LstmCell>(28, 64, 28, 128); });
  rows.emplace_back("gpt d128 L4 h4 T128 b16 adamw", gpt);
  rows.emplace_back("kernel bn2d 64x64x32x32 f+b", [] {
    return kernel(BatchNorm(64), {64, 64, 32, 32});
  });
  rows.emplace_back("kernel ln 8192x512 f+b", [] { return kernel(LayerNorm(512), {8192, 512}); });
  rows.emplace_back("kernel conv3x3 32-64 28x28 b32 f+b", [] { return conv(32, 64, 28, 32); });
  rows.emplace_back("kernel conv3x3 128-128 14x14 b16 f+b", [] { return conv(128, 128, 14, 16); });
  rows.emplace_back("kernel gelu 4096x512 f+b", [] { return kernel(Gelu(), {4096, 512}); });
  rows.emplace_back("kernel softmax 4096x512 f+b", [] { return kernel(Softmax(), {4096, 512}); });
  rows.emplace_back("overhead 100x chain add16 f+b", chain_of_adds);
  return rows;
}

}  // namespace

int main(int argc, char** argv) {
  set_threads(argc > 1 ? std::atoi(argv[1]) : 1);
  try {
    serve(rows());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "rows: %s\n", error.what());
    return 1;
  }
}
