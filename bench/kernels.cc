// Single operations under Google Benchmark, forward and both ways; its options apply:
//   kernels --benchmark_filter=gelu
#include <benchmark/benchmark.h>
#include <gradus/gradus.h>
#include <gradus/tensor/runtime.h>

using namespace gradus;

namespace {

struct Case {
  std::string name;
  std::vector<Tensor> inputs;  ///< leaves
  std::function<Tensor(const std::vector<Tensor>&)> f;
  double flops = 0;  ///< forward; backward has twice as many
};

Tensor leaf(const Shape& shape) { return randn(shape).set_requires_grad(); }

void count(benchmark::State& state, double floats, double flops) {
  if (flops > 0)
    state.counters["flop/s"] = benchmark::Counter(
        flops, benchmark::Counter::kIsIterationInvariantRate, benchmark::Counter::OneK::kIs1000);
  state.SetBytesProcessed(
      static_cast<int64_t>(4 * floats * static_cast<double>(state.iterations())));
}

double floats_in(const std::vector<Tensor>& tensors) {
  double n = 0;
  for (const Tensor& x : tensors) n += static_cast<double>(x.numel());
  return n;
}

void forward(benchmark::State& state, const Case& c) {
  Tensor y;
  for (auto _ : state) y = c.f(c.inputs);
  count(state, floats_in(c.inputs) + static_cast<double>(y.numel()), c.flops);
}

void both_ways(benchmark::State& state, const Case& c) {
  const Tensor dy = randn(c.f(c.inputs).shape());
  for (auto _ : state) {
    Tape tape;
    tape.gradient(c.f(c.inputs), c.inputs, {.dy = dy});
  }
  count(state, 3 * floats_in(c.inputs) + 2 * static_cast<double>(dy.numel()), 3 * c.flops);
}

Case product(int64_t m, int64_t n, int64_t k) {
  return {fmt::format("matmul {}x{}x{}", m, n, k),
          {leaf({m, k}), leaf({k, n})},
          [](const auto& in) { return matmul(in[0], in[1]); },
          2.0 * static_cast<double>(m * n * k)};
}

Case convolution(int64_t n, int64_t in, int64_t out, int64_t size) {
  return {fmt::format("conv3x3 {}x{}x{}x{} to {}", n, in, size, size, out),
          {leaf({n, in, size, size}), leaf({out, in, 3, 3}), leaf({out})},
          [](const auto& x) {
            return conv2d(x[0], x[1], x[2], {.padding = {1, 1}});
          },
          2.0 * static_cast<double>(n * in * out * size * size * 9)};
}

template <class F>
Case elementwise(const char* name, F f, const Shape& shape) {
  return {fmt::format("{} {}", name, shape), {leaf(shape)}, [f](const auto& x) { return f(x[0]); }};
}

std::vector<Case> cases() {
  std::vector<Case> all{
      product(4, 16, 16),          product(32, 128, 128),       product(128, 1000, 784),
      product(512, 512, 512),      product(1024, 1024, 1024),   convolution(64, 1, 16, 28),
      convolution(64, 16, 32, 14), convolution(32, 32, 64, 28), convolution(16, 128, 128, 14)};
  for (const Shape& shape : {Shape{32, 128}, Shape{4096, 512}}) {
    all.push_back(elementwise("relu", relu, shape));
    all.push_back(elementwise(
        "tanh", [](const Tensor& x) { return tanh(x); }, shape));
    all.push_back(elementwise(
        "gelu", [](const Tensor& x) { return gelu(x); }, shape));
    all.push_back(elementwise(
        "softmax", [](const Tensor& x) { return softmax(x); }, shape));
    all.push_back({fmt::format("add {}", shape), {leaf(shape), leaf(shape)}, [](const auto& x) {
                     return x[0] + x[1];
                   }});
    const int64_t d = shape[1];
    all.push_back({fmt::format("layer_norm {}", shape),
                   {leaf(shape), leaf({d}), leaf({d})},
                   [d](const auto& x) { return layer_norm(x[0], {d}, x[1], x[2]); }});
    all.push_back({fmt::format("batch_norm {}", shape),
                   {leaf(shape), leaf({d}), leaf({d})},
                   [](const auto& x) { return batch_norm(x[0], x[1], x[2]).y; }});
  }
  all.push_back({"batch_norm (64, 64, 32, 32)",
                 {leaf({64, 64, 32, 32}), leaf({64}), leaf({64})},
                 [](const auto& x) { return batch_norm(x[0], x[1], x[2]).y; }});
  all.push_back(elementwise("max_pool2d",
                            [](const Tensor& x) {
                              return max_pool2d(x, {2, 2});
                            },
                            {64, 16, 28, 28}));
  const Shape heads{16, 4, 128, 32};
  all.push_back({"causal attention (16, 4, 128, 32)",
                 {leaf(heads), leaf(heads), leaf(heads)},
                 [](const auto& x) {
                   return scaled_dot_product_attention(x[0], x[1], x[2], {.causal = true});
                 }});
  return all;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<Case> all = cases();
  for (const Case& c : all)
    for (int threads : {1, 2})
      for (const auto& [way, run] :
           {std::pair{"forward", &forward}, std::pair{"both ways", &both_ways}})
        benchmark::RegisterBenchmark(fmt::format("{}/{}/{} thread", c.name, way, threads).c_str(),
                                     [&c, threads, r = run](benchmark::State& state) {
                                       set_threads(threads);
                                       r(state, c);
                                     })
            ->UseRealTime();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
}
