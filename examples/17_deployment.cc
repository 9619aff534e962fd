// A trained model in a program that only answers: it loads the weights, reads numbers, prints
// probabilities, and records no tape. tests/consumer/static.sh links this file with the library's
// archive: one file, without libraries of its own beside the system's, of which it holds what it
// calls.
//
//   17_deployment                      trains, writes 17_deployment.safetensors, and shows answers
//   17_deployment WEIGHTS < NUMBERS    answers for images of 64 numbers from 0 to 1 each
#include <gradus/autograd/ops/cross_entropy.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/autograd/ops/softmax.h>
#include <gradus/data/dataset.h>
#include <gradus/data/loader.h>
#include <gradus/models/mlp.h>
#include <gradus/optim/adam.h>

#include <chrono>
#include <cstdio>
#include <filesystem>

using namespace gradus;

static Mlp network() { return Mlp(64, 10, {.hidden = {64, 64}, .norm = Norm::batch}); }

static void train(const std::string& weights, const Dataset& data) {
  Mlp model = network();
  model.initialize(1);
  Adam optimizer(model.parameters(), {.lr = 3e-3});
  const DataLoader loader(data, {.batch_size = 64, .last = LastBatch::drop});
  for (uint64_t epoch = 0; epoch < 10; ++epoch)
    for (const Batch& batch : loader.epoch(epoch)) {
      Tape tape;
      const Tensor loss = cross_entropy(model(batch.x), batch.y);
      optimizer.zero_grad();
      tape.backward(loss);
      optimizer.step();
    }
  model.save(weights);
}

/// For each image of (N, 64) the most probable digit and its probability.
static int64_t answer(const std::string& weights, const Tensor& images, const Tensor& truth = {}) {
  const auto begin = std::chrono::steady_clock::now();
  Mlp model = network();
  model.load(weights);
  model.eval();  // running statistics: an answer does not depend on the other images
  const Tensor p = softmax(model(images));
  const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;
  int64_t right = 0;
  for (int64_t i = 0; i < p.size(0); ++i) {
    int64_t best = 0;
    for (int64_t k = 1; k < 10; ++k)
      if (p.at({i, k}) > p.at({i, best})) best = k;
    std::printf("%d  %.3f", static_cast<int>(best), p.at({i, best}));
    if (truth) {
      right += truth.at({i}) == static_cast<double>(best);
      std::printf("  is %d", static_cast<int>(truth.at({i})));
    }
    std::printf("\n");
  }
  std::fprintf(stderr, "%d answers, weights loaded and all, in %.2f ms\n",
               static_cast<int>(p.size(0)), took.count());
  return right;
}

int main(int argc, char** argv) try {
  if (argc > 1) {
    std::vector<float> numbers;
    for (float x = 0; std::scanf("%f", &x) == 1;) numbers.push_back(x);
    const auto images = static_cast<int64_t>(numbers.size() / 64);
    check(images > 0 && numbers.size() % 64 == 0, "{} numbers are no images of 64", numbers.size());
    answer(argv[1], Tensor::from(numbers, {images, 64}));
    return 0;
  }
  const std::string weights = "17_deployment.safetensors";
  const Split data = train_test_split(digits(), 0.2, 1);
  train(weights, data.train);
  const int64_t right = answer(weights, slice(data.test.x, 0, 0, 8), data.test.y);
  std::printf("%d bytes of weights\n", static_cast<int>(std::filesystem::file_size(weights)));
  return right >= 7 ? 0 : 1;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 2;
}
