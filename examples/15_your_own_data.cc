// Data of one's own: any tensors that share their first axis are a dataset, which is split,
// standardized, shuffled and cut into batches like any other.
#include <gradus/gradus.h>

#include <cmath>
#include <numbers>

using namespace gradus;

/// Points of two arms of a spiral, with noise, and how far out each lies.
static Dataset spirals(int64_t points, uint64_t seed) {
  Generator generator(seed);
  const Tensor noise = randn({points, 2}, generator);
  std::vector<float> x, radius;
  std::vector<int64_t> arm;
  for (int64_t i = 0; i < points; ++i) {
    const double r = 0.3 + 2.2 * static_cast<double>(i) / static_cast<double>(points);
    const double angle = 2.5 * r + (i % 2 == 0 ? 0 : std::numbers::pi);
    x.push_back(static_cast<float>(r * std::cos(angle) + 0.08 * noise.at({i, 0})));
    x.push_back(static_cast<float>(r * std::sin(angle) + 0.08 * noise.at({i, 1})));
    radius.push_back(static_cast<float>(r));
    arm.push_back(i % 2);
  }
  return {.name = "spirals",
          .x = Tensor::from(x, {points, 2}),
          .y = Tensor::from(arm, {points}),
          .classes = 2,
          .more = {{"radius", Tensor::from(radius, {points})}}};
}

static Tensor answers(Mlp& model, const Tensor& x) { return argmax(model(x), 1); }

int main() {
  const Split data = train_test_split(spirals(600, 1), 0.25, 1);
  fmt::print("{} points to train with, {} to test with, each with {} tensors\n", data.train.size(),
             data.test.size(), data.train.tensors().size());
  Mlp model(2, 2, {.hidden = {32, 32, 32}, .norm = Norm::layer});
  model.initialize(1);
  AdamW optimizer(model.parameters(), {.lr = 1e-2, .weight_decay = 1e-3});
  const DataLoader loader(data.train, {.batch_size = 32, .seed = 3});
  for (uint64_t epoch = 0; epoch < 40; ++epoch)
    for (const Batch& batch : loader.epoch(epoch)) {
      Tape tape;
      const Tensor loss = cross_entropy(model(batch.x), batch.y);
      optimizer.zero_grad();
      tape.backward(loss);
      optimizer.step();
    }

  // What the model says of each place of the plane, and the test points: o and x.
  constexpr int64_t kRows = 21, kColumns = 44;
  std::vector<float> places;
  for (int64_t row = 0; row < kRows; ++row)
    for (int64_t column = 0; column < kColumns; ++column) {
      places.push_back(static_cast<float>(-2.7 + 5.4 * static_cast<double>(column) / kColumns));
      places.push_back(static_cast<float>(2.7 - 5.4 * static_cast<double>(row) / kRows));
    }
  const Tensor said = answers(model, Tensor::from(places, {kRows * kColumns, 2}));
  std::string plane;
  for (int64_t i = 0; i < said.numel(); ++i) plane += said.at({i}) > 0 ? '.' : ' ';
  const Dataset& test = data.test;
  for (int64_t i = 0; i < test.size(); ++i) {
    const auto column =
        static_cast<int64_t>(std::lround((test.x.at({i, 0}) + 2.7) / 5.4 * kColumns));
    const auto row = static_cast<int64_t>(std::lround((2.7 - test.x.at({i, 1})) / 5.4 * kRows));
    if (row >= 0 && row < kRows && column >= 0 && column < kColumns)
      plane[static_cast<size_t>(row * kColumns + column)] = test.y.at({i}) > 0 ? 'x' : 'o';
  }
  for (int64_t row = 0; row < kRows; ++row)
    fmt::print("{}\n", plane.substr(static_cast<size_t>(row * kColumns), kColumns));

  const Tensor right = cast(equal(answers(model, test.x), test.y), DType::f32);
  const Tensor outer = cast(greater(test["radius"], 1.4), DType::f32);
  const double accuracy = mean(right).item();
  fmt::print("right {:.1f} %, of the outer half {:.1f} %\n", 100 * accuracy,
             100 * sum(right * outer).item() / sum(outer).item());
  return accuracy > 0.95 ? 0 : 1;
}
