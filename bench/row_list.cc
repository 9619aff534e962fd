#include "bench/row_list.h"

#include <cstdint>

namespace gradus::bench {

namespace {

/// What an optimizer reads and writes for each f32 parameter: value, gradient, and the moments.
constexpr double kSgd = 4 * 3, kMomentum = 4 * 5, kAdam = 4 * 7;

struct Cost {
  double flops = 0, bytes = 0, parameters = 0;

  /// y = x W^T + b, and the products for dW and, unless x is the input, dx.
  void linear(double rows, double in, double out, bool input = false) {
    flops += 2 * rows * in * out * (input ? 2 : 3);
    parameters += (in + 1) * out;
  }
  /// So many arrays of n floats go through memory once.
  void arrays(double count, double n) { bytes += 4 * count * n; }
  /// x is read forward and, as dy, backward; y and dx are written.
  void norm(double n, double weights) {
    arrays(5, n);
    parameters += 2 * weights;
  }
};

RowInfo row(std::string name, const Cost& cost, double bytes_a_parameter, double target,
            double dynet = 0, double share = 0) {
  return {std::move(name), cost.flops, cost.bytes + bytes_a_parameter * cost.parameters,
          target,          dynet,      share};
}

Cost mlp(const std::vector<double>& sizes, double batch, bool norm) {
  Cost cost;
  for (size_t i = 0; i + 1 < sizes.size(); ++i) {
    cost.linear(batch, sizes[i], sizes[i + 1], i == 0);
    if (norm && i + 2 < sizes.size()) cost.norm(batch * sizes[i + 1], sizes[i + 1]);
  }
  return cost;
}

/// Each map and its gradient are written and read once.
Cost cnn(bool norm, bool norm_by_position) {
  Cost cost;
  double in = 1, size = 28;
  for (double out : {16, 32}) {
    const double map = 64 * out * size * size;
    cost.linear(64 * size * size, 9 * in, out, in == 1);
    cost.arrays(4, map + map / 4);
    if (norm) cost.norm(map, norm_by_position ? out * size * size : out);
    in = out;
    size /= 2;
  }
  cost.linear(64, in * size * size, 10);
  return cost;
}

/// `gates` Linears of x and of the state; the first state is zero.
Cost recurrent(double steps, double batch, double inputs, double hidden, double gates) {
  Cost cost;
  cost.linear(steps * batch, inputs, gates * hidden, true);
  cost.linear((steps - 1) * batch, hidden, gates * hidden);
  cost.linear(batch, hidden, 10);
  return cost;
}

Cost gpt(double tokens, double dim, double layers, double steps, double batch) {
  Cost cost;
  const double rows = batch * steps;
  for (int i = 0; i < static_cast<int>(layers); ++i) {
    for (double out : {3 * dim, dim, 4 * dim}) cost.linear(rows, dim, out);
    cost.linear(rows, 4 * dim, dim);
    // Scores and weighted values, forward and twice backward, without the half in the future.
    cost.flops += 3 * 2 * 2 * rows * steps * dim / 2;
    cost.arrays(4, rows * 10 * dim);  // what products write, and its gradient
    cost.norm(rows * dim, dim);
    cost.norm(rows * dim, dim);
    cost.arrays(5, rows * 4 * dim);  // gelu
  }
  cost.norm(rows * dim, dim);
  cost.linear(rows, dim, tokens);
  cost.arrays(4, rows * tokens);
  cost.parameters += (tokens + steps) * dim;
  return cost;
}

/// An operation of n elements, both ways.
Cost elementwise(double n) {
  Cost cost;
  cost.arrays(5, n);
  return cost;
}

Cost conv3x3(double in, double out, double size, double batch) {
  Cost cost;
  cost.linear(batch * size * size, 9 * in, out);
  cost.arrays(3, batch * size * size * in);
  cost.arrays(2, batch * size * size * out);
  return cost;
}

}  // namespace

std::vector<RowInfo> row_list() {
  const std::vector<double> small{64, 128, 128, 10}, large{784, 1000, 1000, 10};
  return {row("tiny mlp 2-16-16-2 b4 sgd", mlp({2, 16, 16, 2}, 4, false), kSgd, 2, 21),
          row("overhead 100x chain add16 f+b", {}, 0, 12),
          row("mlp 64-128-128-10 b32 adam none", mlp(small, 32, false), kAdam, 1.6, 3.1),
          row("mlp 64-128-128-10 b32 adam bn", mlp(small, 32, true), kAdam, 2.5),
          row("mlp 64-128-128-10 b32 adam ln", mlp(small, 32, true), kAdam, 1.8),
          row("mlp 784-1000-1000-10 b128 adam none", mlp(large, 128, false), kAdam, 1.05),
          row("mlp 784-1000-1000-10 b128 adam bn", mlp(large, 128, true), kAdam, 1.1),
          row("mlp 784-1000-1000-10 b128 adam ln", mlp(large, 128, true), kAdam, 1.1),
          row("cnn 28x28 16-32 b64 sgdm none", cnn(false, false), kMomentum, 2),
          row("cnn 28x28 16-32 b64 sgdm bn", cnn(true, false), kMomentum, 2.5),
          row("cnn 28x28 16-32 b64 sgdm ln", cnn(true, true), kMomentum, 2),
          row("rnncell 8-64 T8 b32 adam", recurrent(8, 32, 8, 64, 1), kAdam, 1.4, 6.7),
          row("lstmcell 28-128 T28 b64 adam", recurrent(28, 64, 28, 128, 4), kAdam, 2, 1.3),
          row("gpt d128 L4 h4 T128 b16 adamw", gpt(65, 128, 4, 128, 16), kAdam, 1.4),
          row("kernel bn2d 64x64x32x32 f+b", elementwise(64 * 64 * 32 * 32), 0, 1.4, 0, 0.75),
          row("kernel ln 8192x512 f+b", elementwise(8192 * 512), 0, 1.2, 0, 0.75),
          row("kernel conv3x3 32-64 28x28 b32 f+b", conv3x3(32, 64, 28, 32), 0, 1.25),
          row("kernel conv3x3 128-128 14x14 b16 f+b", conv3x3(128, 128, 14, 16), 0, 1.25),
          row("kernel gelu 4096x512 f+b", elementwise(4096 * 512), 0, 1.2),
          row("kernel softmax 4096x512 f+b", elementwise(4096 * 512), 0, 1.1)};
}

}  // namespace gradus::bench
