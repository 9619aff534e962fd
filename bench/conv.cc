// Convolutions and the CNNs that they make: the two kernels and the three training steps of
// docs/decisions.md, section "Convolution", on 1 and 2 threads. `conv NAME` prints the rows whose
// name holds NAME.
#include <gradus/gradus.h>
#include <gradus/layers/conv2d.h>
#include <gradus/layers/pool.h>
#include <gradus/models/norm.h>
#include <gradus/optim/sgd.h>
#include <gradus/tensor/kernels/conv.h>
#include <gradus/tensor/kernels/threads.h>
#include <gradus/tensor/random.h>

#include <algorithm>
#include <chrono>
#include <string_view>

using namespace gradus;

namespace {

std::string_view wanted;

/// Prints the median and the least time of f.
template <class F>
void row(const std::string& name, F f) {
  if (name.find(wanted) == std::string::npos) return;
  using Clock = std::chrono::steady_clock;
  for (int i = 0; i < 3; ++i) f();
  std::vector<double> times;
  const auto begin = Clock::now();
  while (Clock::now() - begin < std::chrono::seconds(1)) {
    const auto start = Clock::now();
    f();
    times.push_back(std::chrono::duration<double, std::micro>(Clock::now() - start).count());
  }
  std::sort(times.begin(), times.end());
  fmt::print("{:<52} {} threads {:>8.0f} us, at least {:>8.0f}\n", name, threads(),
             times[times.size() / 2], times[0]);
}

void kernel(int64_t in, int64_t out, int64_t size, int64_t batch) {
  const Tensor x = randn({batch, in, size, size}).set_requires_grad(),
               w = randn({out, in, 3, 3}).set_requires_grad(), b = zeros({out}).set_requires_grad(),
               dy = randn({batch, out, size, size});
  const kernels::Conv2dShape shape{.batch = batch,
                                   .in_channels = in,
                                   .height = size,
                                   .width = size,
                                   .out_channels = out,
                                   .kernel_h = 3,
                                   .kernel_w = 3,
                                   .padding_h = 1,
                                   .padding_w = 1};
  const std::string name =
      fmt::format("{} 3x3 {}-{} {}x{} batch {}", kernels::name(kernels::conv_path<float>(shape)),
                  in, out, size, size, batch);
  const auto gradients = [&](std::vector<Tensor> of) {
    return [&, of] {
      Tape tape;
      tape.gradient(conv2d(x, w, b, {.padding = {1, 1}}), of, {.dy = dy});
    };
  };
  row(name + ", forward", [&] { conv2d(x, w, b, {.padding = {1, 1}}); });
  row(name + ", forward and dx", gradients({x}));
  row(name + ", forward and dw", gradients({w}));
  row(name + ", all", gradients({x, w, b}));
}

void cnn(Norm norm) {
  Sequential model;
  int64_t channels[] = {1, 16, 32}, size = 28;
  for (int i = 0; i < 2; ++i, size /= 2) {
    model.add(Conv2d(channels[i], channels[i + 1], 3, {.padding = 1}));
    if (norm != Norm::none) model.add(image_norm(norm, channels[i + 1], size, size));
    model.add(Relu()).add(MaxPool2d(2));
  }
  Linear head(32 * 7 * 7, 10);
  auto parameters = model.parameters();
  for (const Tensor& p : head.parameters()) parameters.push_back(p);
  Sgd optimizer(parameters, {.lr = 0.01, .momentum = 0.9});
  const Tensor x = randn({64, 1, 28, 28}), y = randint(0, 10, {64});
  row(fmt::format("cnn 28x28 16-32 batch 64, {}", name(norm)), [&] {
    Tape tape;
    const Tensor loss = cross_entropy(head(reshape(model(x), {64, 32 * 7 * 7})), y);
    optimizer.zero_grad();
    tape.backward(loss);
    optimizer.step();
  });
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1) wanted = argv[1];
  for (int count : {1, 2}) {
    set_threads(count);
    kernel(32, 64, 28, 32);
    kernel(128, 128, 14, 16);
    kernel(1, 16, 28, 64);
    for (Norm norm : {Norm::none, Norm::batch, Norm::layer}) cnn(norm);
  }
}
