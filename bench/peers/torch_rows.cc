// The rows of the race on libtorch: `torch_rows THREADS` answers the questions of contestant.h.
#include <torch/torch.h>

#include "bench/contestant.h"
#include "bench/values.h"

using namespace gradus::bench;
namespace nn = torch::nn;
namespace optim = torch::optim;
using torch::Tensor;

namespace {

Tensor input(uint32_t seed, torch::IntArrayRef shape) {
  Tensor x = torch::empty(shape);
  fill_input(seed, x.numel(), x.data_ptr<float>());
  return x;
}

Tensor labels(uint32_t seed, torch::IntArrayRef shape, int64_t classes) {
  Tensor y = torch::empty(shape, torch::kLong);
  fill_labels(seed, y.numel(), classes, y.data_ptr<int64_t>());
  return y;
}

template <class Module>
Module filled(Module module) {
  uint32_t index = 0;
  for (auto& parameter : module->named_parameters())
    fill_parameter(++index, parameter.key(), parameter->dim(), parameter->size(0),
                   parameter->numel(), parameter->template data_ptr<float>());
  return module;
}

/// Forward, backward and update, with cross entropy as the loss of f's scores.
Work training(std::function<Tensor()> f, std::shared_ptr<optim::Optimizer> optimizer, Tensor y) {
  const auto last = std::make_shared<Tensor>();
  return {[=] {
            optimizer->zero_grad();
            *last = nn::functional::cross_entropy(f(), y);
            last->backward();
            optimizer->step();
          },
          [=] { return std::vector<double>{last->item<double>()}; }};
}
template <class Module>
Work training(Module module, std::shared_ptr<optim::Optimizer> optimizer, Tensor x, Tensor y) {
  return training([=]() mutable { return module->forward(x); }, optimizer, y);
}

/// Forward, and backward to x and to the module's parameters.
Work kernel(std::function<Tensor(const Tensor&)> f, torch::IntArrayRef x_shape,
            torch::IntArrayRef y_shape, std::vector<Tensor> leaves = {}) {
  const Tensor x = input(100, x_shape).requires_grad_(), dy = input(101, y_shape);
  leaves.insert(leaves.begin(), x);
  return {[=] {
            for (const Tensor& leaf : leaves) leaf.mutable_grad() = Tensor();
            f(x).backward(dy);
          },
          [=] {
            std::vector<double> some;
            for (const Tensor& leaf : leaves) {
              const Tensor dx = leaf.grad().reshape(-1);
              for (int64_t i = 0; i < 5; ++i) some.push_back(dx[dx.numel() / 5 * i].item<double>());
            }
            return some;
          }};
}
template <class Module>
Work module_kernel(Module module, torch::IntArrayRef x_shape, torch::IntArrayRef y_shape) {
  module = filled(module);
  return kernel([=](const Tensor& x) mutable { return module->forward(x); }, x_shape, y_shape,
                module->parameters());
}

Work mlp(const std::vector<int64_t>& sizes, int64_t batch, const std::string& norm, bool adam) {
  nn::Sequential model;
  for (size_t i = 0; i + 1 < sizes.size(); ++i) {
    model->push_back(nn::Linear(sizes[i], sizes[i + 1]));
    if (i + 2 == sizes.size()) break;
    if (norm == "bn") model->push_back(nn::BatchNorm1d(sizes[i + 1]));
    if (norm == "ln") model->push_back(nn::LayerNorm(nn::LayerNormOptions({sizes[i + 1]})));
    model->push_back(nn::ReLU());
  }
  filled(model);
  std::shared_ptr<optim::Optimizer> optimizer;
  if (adam)
    optimizer = std::make_shared<optim::Adam>(model->parameters());
  else
    optimizer = std::make_shared<optim::SGD>(model->parameters(), optim::SGDOptions(0.01));
  return training(model, optimizer, input(100, {batch, sizes.front()}),
                  labels(101, {batch}, sizes.back()));
}

Work cnn(const std::string& norm) {
  nn::Sequential model;
  int64_t in = 1, size = 28;
  for (int64_t out : {16, 32}) {
    model->push_back(nn::Conv2d(nn::Conv2dOptions(in, out, 3).padding(1)));
    if (norm == "bn") model->push_back(nn::BatchNorm2d(out));
    if (norm == "ln") model->push_back(nn::LayerNorm(nn::LayerNormOptions({out, size, size})));
    model->push_back(nn::ReLU());
    model->push_back(nn::MaxPool2d(2));
    in = out;
    size /= 2;
  }
  model->push_back(nn::Flatten());
  model->push_back(nn::Linear(in * size * size, 10));
  filled(model);
  return training(
      model,
      std::make_shared<optim::SGD>(model->parameters(), optim::SGDOptions(0.01).momentum(0.9)),
      input(100, {64, 1, 28, 28}), labels(101, {64}, 10));
}

struct LastStateImpl : nn::Module {
  LastStateImpl(int64_t inputs, int64_t hidden)
      : cell(register_module("cell", nn::RNNCell(inputs, hidden))),
        head(register_module("head", nn::Linear(hidden, 10))) {}
  Tensor forward(const Tensor& x) {
    Tensor h = torch::zeros({x.size(1), 64});
    for (int64_t t = 0; t < x.size(0); ++t) h = cell(x[t], h);
    return head(h);
  }
  nn::RNNCell cell;
  nn::Linear head;
};
TORCH_MODULE(LastState);

Work rnn_cell() {
  const auto model = filled(LastState(8, 64));
  return training(model, std::make_shared<optim::Adam>(model->parameters()), input(100, {8, 32, 8}),
                  labels(101, {32}, 10));
}

struct LastLstmStateImpl : nn::Module {
  LastLstmStateImpl(int64_t inputs, int64_t hidden)
      : cell(register_module("cell", nn::LSTMCell(inputs, hidden))),
        head(register_module("head", nn::Linear(hidden, 10))) {}
  Tensor forward(const Tensor& x) {
    std::tuple<Tensor, Tensor> state{torch::zeros({x.size(1), 128}),
                                     torch::zeros({x.size(1), 128})};
    for (int64_t t = 0; t < x.size(0); ++t) state = cell(x[t], state);
    return head(std::get<0>(state));
  }
  nn::LSTMCell cell;
  nn::Linear head;
};
TORCH_MODULE(LastLstmState);

Work lstm_cell() {
  const auto model = filled(LastLstmState(28, 128));
  return training(model, std::make_shared<optim::Adam>(model->parameters()),
                  input(100, {28, 64, 28}), labels(101, {64}, 10));
}

/// `in_proj` and `out_proj` are together what nn::MultiheadAttention owns.
struct GptBlockImpl : nn::Module {
  GptBlockImpl(int64_t dim, int64_t heads_)
      : norm1(register_module("norm1", nn::LayerNorm(nn::LayerNormOptions({dim})))),
        norm2(nn::LayerNorm(nn::LayerNormOptions({dim}))),
        in_proj(register_module("in_proj", nn::Linear(dim, 3 * dim))),
        out_proj(register_module("out_proj", nn::Linear(dim, dim))),
        up(nn::Linear(dim, 4 * dim)),
        down(nn::Linear(4 * dim, dim)),
        heads(heads_) {
    register_module("norm2", norm2);
    register_module("up", up);
    register_module("down", down);
  }
  Tensor forward(const Tensor& x) {
    const int64_t n = x.size(0), t = x.size(1), dim = x.size(2);
    const Tensor qkv =
        in_proj(norm1(x)).view({n, t, 3, heads, dim / heads}).permute({2, 0, 3, 1, 4});
    const Tensor y =
        torch::scaled_dot_product_attention(qkv[0], qkv[1], qkv[2], {}, 0, /*is_causal=*/true);
    const Tensor h = x + out_proj(y.transpose(1, 2).reshape({n, t, dim}));
    return h + down(torch::gelu(up(norm2(h))));
  }
  nn::LayerNorm norm1, norm2;
  nn::Linear in_proj, out_proj, up, down;
  int64_t heads;
};
TORCH_MODULE(GptBlock);

struct GptImpl : nn::Module {
  GptImpl(int64_t tokens, int64_t dim, int64_t layers, int64_t heads, int64_t steps)
      : token(register_module("token", nn::Embedding(tokens, dim))),
        position(register_module("position", nn::Embedding(steps, dim))),
        norm(nn::LayerNorm(nn::LayerNormOptions({dim}))),
        head(nn::Linear(dim, tokens)) {
    for (int64_t i = 0; i < layers; ++i)
      blocks.push_back(register_module("block" + std::to_string(i), GptBlock(dim, heads)));
    register_module("norm", norm);
    register_module("head", head);
  }
  Tensor forward(const Tensor& x) {
    Tensor h = token(x) + position->weight;
    for (GptBlock& block : blocks) h = block(h);
    return head(norm(h)).flatten(0, 1);
  }
  nn::Embedding token, position;
  std::vector<GptBlock> blocks;
  nn::LayerNorm norm;
  nn::Linear head;
};
TORCH_MODULE(Gpt);

Work gpt() {
  const auto model = filled(Gpt(65, 128, 4, 4, 128));
  return training(model, std::make_shared<optim::AdamW>(model->parameters()),
                  labels(100, {16, 128}, 65), labels(101, {16 * 128}, 65));
}

Work chain_of_adds() {
  const Tensor a = input(100, {16}).requires_grad_();
  return {[=] {
            a.mutable_grad() = Tensor();
            Tensor b = a;
            for (int i = 0; i < 100; ++i) b = b + a;
            b.sum().backward();
          },
          [=] { return std::vector<double>{a.grad()[3].item<double>()}; }};
}

nn::Conv2d conv(int64_t in, int64_t out) {
  return nn::Conv2d(nn::Conv2dOptions(in, out, 3).padding(1));
}

Rows rows() {
  Rows rows{{"tiny mlp 2-16-16-2 b4 sgd", [] { return mlp({2, 16, 16, 2}, 4, "none", false); }}};
  for (const std::string norm : {"none", "bn", "ln"}) {
    rows.emplace_back("mlp 64-128-128-10 b32 adam " + norm, [=] {
      return mlp({64, 128, 128, 10}, 32, norm, true);
    });
    rows.emplace_back("mlp 784-1000-1000-10 b128 adam " + norm, [=] {
      return mlp({784, 1000, 1000, 10}, 128, norm, true);
    });
    rows.emplace_back("cnn 28x28 16-32 b64 sgdm " + norm, [=] { return cnn(norm); });
  }
  rows.emplace_back("rnncell 8-64 T8 b32 adam", rnn_cell);
  rows.emplace_back("lstmcell 28-128 T28 b64 adam", lstm_cell);
  rows.emplace_back("gpt d128 L4 h4 T128 b16 adamw", gpt);
  rows.emplace_back("kernel bn2d 64x64x32x32 f+b", [] {
    return module_kernel(nn::BatchNorm2d(64), {64, 64, 32, 32}, {64, 64, 32, 32});
  });
  rows.emplace_back("kernel ln 8192x512 f+b", [] {
    return module_kernel(nn::LayerNorm(nn::LayerNormOptions({512})), {8192, 512}, {8192, 512});
  });
  rows.emplace_back("kernel conv3x3 32-64 28x28 b32 f+b", [] {
    return module_kernel(conv(32, 64), {32, 32, 28, 28}, {32, 64, 28, 28});
  });
  rows.emplace_back("kernel conv3x3 128-128 14x14 b16 f+b", [] {
    return module_kernel(conv(128, 128), {16, 128, 14, 14}, {16, 128, 14, 14});
  });
  rows.emplace_back("kernel gelu 4096x512 f+b", [] {
    return kernel([](const Tensor& x) { return torch::gelu(x); }, {4096, 512}, {4096, 512});
  });
  rows.emplace_back("kernel softmax 4096x512 f+b", [] {
    return kernel([](const Tensor& x) { return torch::softmax(x, -1); }, {4096, 512}, {4096, 512});
  });
  rows.emplace_back("overhead 100x chain add16 f+b", chain_of_adds);
  return rows;
}

}  // namespace

int main(int argc, char** argv) {
  torch::set_num_threads(argc > 1 ? std::atoi(argv[1]) : 1);
  serve(rows());
}
