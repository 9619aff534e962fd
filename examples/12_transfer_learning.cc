// A network that knows the digits 0 to 4 learns 5 to 9 from a few images each: its body is frozen,
// statistics of its norms and all, and a new head is trained on it, a seventh of the numbers;
// beside that, the same network from nothing, which on images as small as these is ahead by a
// little.
#include <gradus/gradus.h>

#include <algorithm>

using namespace gradus;

/// (N, 1, 8, 8) to (N, 512)
static Sequential make_body() {
  return Sequential(Conv2d(1, 16, 3, {.padding = 1}), BatchNorm(16), Relu(),
                    Conv2d(16, 32, 3, {.padding = 1}), BatchNorm(32), Relu(), MaxPool2d(2),
                    Conv2d(32, 32, 3, {.padding = 1}), BatchNorm(32), Relu(), Flatten());
}

struct Network : Module {
  Sequential body = make_body();
  Linear head{512, 5};
  Tensor operator()(const Tensor& x) { return head(body(x)); }
  void visit(Visitor& visitor) override {
    visitor.module("body", body);
    visitor.module("head", head);
  }
  std::string describe() const override { return "Network"; }
};

/// The digits from `first` on, five of them, called 0 to 4; of each `most`, from the `skip`-th on.
static Dataset digits_from(const Dataset& data, int64_t first, int64_t most, int64_t skip = 0) {
  std::vector<int64_t> rows, labels;
  int64_t seen[5] = {};
  for (int64_t i = 0; i < data.size(); ++i) {
    const auto label = static_cast<int64_t>(data.y.at({i})) - first;
    if (label < 0 || label > 4) continue;
    const int64_t place = seen[label]++;
    if (place < skip || place >= skip + most) continue;
    rows.push_back(i);
    labels.push_back(label);
  }
  Dataset some = data[Tensor::from(rows, {static_cast<int64_t>(rows.size())})];
  some.y = Tensor::from(labels, some.y.shape());
  some.classes = 5;
  return some;
}

static void train(Network& model, const Dataset& data, uint64_t epochs, double lr) {
  std::vector<Tensor> trained;
  for (const Tensor& parameter : model.parameters())
    if (parameter.requires_grad()) trained.push_back(parameter);
  Adam optimizer(trained, {.lr = lr});
  const DataLoader loader(data, {.batch_size = 25});
  model.train();
  for (uint64_t epoch = 0; epoch < epochs; ++epoch)
    for (const Batch& batch : loader.epoch(epoch)) {
      Tape tape;
      const Tensor loss = cross_entropy(model(batch.x), batch.y);
      optimizer.zero_grad();
      tape.backward(loss);
      optimizer.step();
    }
  model.eval();
}

static double right(Network& model, const Dataset& data) {
  return 100 * accuracy(argmax(model(data.x), 1), data.y);
}

int main() {
  const Split data = train_test_split(digits(), 0.3, 1);
  Network known;
  known.initialize(1);
  train(known, digits_from(data.train, 0, 1000), 8, 3e-3);
  fmt::print("0 to 4: {:.1f} % right\n\n", right(known, digits_from(data.test, 0, 1000)));

  const Dataset test = digits_from(data.test, 5, 1000);
  fmt::print("5 to 9, images of each  a new head on the body  from nothing\n");
  double best = 0;
  bool same = true;  // the body, bit for bit
  for (const int64_t images : {1, 2, 5, 10}) {
    double first = 0, second = 0;
    constexpr int kDraws = 3;  // of the images
    for (int64_t draw = 0; draw < kDraws; ++draw) {
      const Dataset few = digits_from(data.train, 5, images, draw * images);
      Network tuned = known, scratch;
      tuned.head.initialize(static_cast<uint64_t>(draw));
      tuned.body.freeze();
      scratch.initialize(static_cast<uint64_t>(draw));
      train(tuned, few, 100, 3e-3);
      train(scratch, few, 100, 3e-3);
      const NamedTensors before = known.body.state(), after = tuned.body.state();
      for (size_t i = 0; i < before.size(); ++i)
        same = same && all(equal(before[i].second, after[i].second));
      first += right(tuned, test) / kDraws;
      second += right(scratch, test) / kDraws;
    }
    fmt::print("{:22}  {:20.1f} %  {:10.1f} %\n", images, first, second);
    best = std::max(best, first);
  }
  fmt::print("\nthe head has {} numbers of {}; the body stayed as it was: {}\n",
             known.head.parameter_count(), known.parameter_count(), same);
  return best > 85 && same ? 0 : 1;
}
