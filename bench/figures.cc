// The figures of docs/decisions.md, section "Figures", measured on this machine.
#include <gradus/autograd/ops/norm.h>
#include <gradus/gradus.h>
#include <gradus/layers/activation.h>
#include <gradus/layers/linear.h>
#include <gradus/layers/sequential.h>
#include <gradus/optim/sgd.h>
#include <gradus/tensor/kernels/threads.h>
#include <gradus/tensor/random.h>

#include <algorithm>
#include <chrono>
#include <cstring>

using namespace gradus;

namespace {

/// The median time of f in microseconds, over at least `seconds`.
template <class F>
double microseconds(F f, double seconds = 0.5) {
  using Clock = std::chrono::steady_clock;
  for (int i = 0; i < 3; ++i) f();
  std::vector<double> times;
  const auto begin = Clock::now();
  while (std::chrono::duration<double>(Clock::now() - begin).count() < seconds ||
         times.size() < 5) {
    const auto start = Clock::now();
    f();
    times.push_back(std::chrono::duration<double, std::micro>(Clock::now() - start).count());
  }
  std::nth_element(times.begin(), times.begin() + static_cast<int64_t>(times.size() / 2),
                   times.end());
  return times[times.size() / 2];
}

void chain() {
  const Tensor a = ones({16}).set_requires_grad(), b = ones({16}), dy = ones({16});
  const auto forward = [&] {
    Tensor y = a;
    for (int i = 0; i < 100; ++i) y = y + b;
    return y;
  };
  const double once = microseconds([&] {
    Tape tape;
    forward();
  });
  const double both = microseconds([&] {
    Tape tape;
    tape.gradient(forward(), a, {.dy = dy});
  });
  fmt::print("{:<52} {:>8.3f} us forward, {:.3f} us backward   target 0.15\n",
             "a recorded add of 16 floats, of a chain of 100", once / 100, (both - once) / 100);
}

void tiny_mlp() {
  Sequential model(Linear(2, 16), Relu(), Linear(16, 16), Relu(), Linear(16, 2));
  Sgd optimizer(model.parameters());
  const Tensor x = randn({4, 2}), y = Tensor::of({0, 1, 1, 0}, DType::i64);
  const double time = microseconds([&] {
    Tape tape;
    const Tensor loss = cross_entropy(model(x), y);
    optimizer.zero_grad();
    tape.backward(loss);
    optimizer.step();
  });
  fmt::print("{:<52} {:>8.2f} us   target 4\n", "training step of an MLP 2-16-16-2, batch 4, SGD",
             time);
}

void norms() {
  const Tensor x = randn({64, 64, 32, 32}).set_requires_grad(), w = ones({64}).set_requires_grad(),
               b = zeros({64}).set_requires_grad(), dy = randn({64, 64, 32, 32});
  const Tensor u = randn({8192, 512}).set_requires_grad(), v = ones({512}).set_requires_grad(),
               c = zeros({512}).set_requires_grad(), du = randn({8192, 512});
  Tensor to = empty_like(x);
  const double copy = microseconds(
      [&] { std::memcpy(to.mutable_bytes(), x.bytes(), static_cast<size_t>(x.numel()) * 4); });
  // Forward reads x and writes y; backward reads x and dy and writes dx: 2.5 copies.
  for (int count : {1, threads()}) {
    const int before = threads();
    set_threads(count);
    const double batch = microseconds([&] {
      Tape tape;
      tape.gradient(batch_norm(x, w, b).y, {x, w, b}, {.dy = dy});
    });
    const double layer = microseconds([&] {
      Tape tape;
      tape.gradient(layer_norm(u, {512}, v, c), {u, v, c}, {.dy = du});
    });
    set_threads(before);
    fmt::print("{:<52} {:>8.0f} us = {:.2f} x bytes/copy rate   target 2\n",
               fmt::format("batch_norm 64x64x32x32, both ways, {} threads", count), batch,
               batch / (2.5 * copy));
    fmt::print("{:<52} {:>8.0f} us = {:.2f} x bytes/copy rate   target 2\n",
               fmt::format("layer_norm 8192x512, both ways, {} threads", count), layer,
               layer / (2.5 * copy));
  }
}

}  // namespace

int main() {
  manual_seed(1);
  chain();
  tiny_mlp();
  norms();
}
