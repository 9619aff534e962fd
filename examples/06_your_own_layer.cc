// A layer of one's own, in a Sequential: named, trained, copied, saved and loaded like any other.
#include <gradus/gradus.h>

#include <filesystem>

using namespace gradus;

/// y = x * scale.  x: (..., D)   scale: (D)
class Scale : public UnaryModule {
 public:
  explicit Scale(int64_t features) : scale({features}, Init::ones()) {}
  Tensor forward(const Tensor& x) override {
    const ForwardScope scope(*this);  // errors begin with the path: "in blocks.1.scale: ..."
    return x * scale;
  }
  void visit(Visitor& visitor) override { visitor.parameter("scale", scale); }
  std::string describe() const override { return fmt::format("Scale({})", scale.numel()); }

  Parameter scale;
};

static double accuracy(Sequential& model, const Dataset& data) {
  const Tensor labels = argmax(model(data.x), 1);
  return mean(cast(equal(labels, data.y), DType::f32)).item();
}

int main() {
  const Split data = train_test_split(digits(), 0.2, 1);
  Sequential model(Flatten(), Scale(64), Linear(64, 32), Relu(), Linear(32, 10));
  fmt::print("{}\n\n", model.tree());
  for (const auto& [path, tensor] : model.state()) fmt::print("{:<9} {}\n", path, tensor.shape());

  Sequential untrained = model;  // copies are deep
  Adam optimizer(model.parameters(), {.lr = 1e-2});
  const DataLoader loader(data.train, {.batch_size = 64});
  for (uint64_t epoch = 0; epoch < 5; ++epoch) {
    for (const Batch& batch : loader.epoch(epoch)) {
      Tape tape;
      const Tensor loss = cross_entropy(model(batch.x), batch.y);
      optimizer.zero_grad();
      tape.backward(loss);
      optimizer.step();
    }
  }
  const double before = accuracy(untrained, data.test), after = accuracy(model, data.test);
  const Tensor scale = model.state()[0].second;
  fmt::print(
      "\nright before {:.1f} %, after {:.1f} %; the scales, all 1 before, now {:.2f} to {:.2f}\n",
      100 * before, 100 * after, min(scale).item(), max(scale).item());

  // A file in safetensors format, with PyTorch's names; loading checks names, shapes and dtypes.
  const std::string file = "06_your_own_layer.safetensors";
  model.save(file);
  untrained.load(file);
  std::filesystem::remove(file);
  const bool loaded = accuracy(untrained, data.test) == after;

  bool named = false;
  try {
    model(ones({2, 65}));
  } catch (const Error& error) {
    fmt::print("\nwith 65 features:\n  {}\n", error.what());
    named = std::string(error.what()).starts_with("in 1: mul: ");
  }
  return before < 0.5 && after > 0.9 && max(scale).item() > 1.01 && loaded && named ? 0 : 1;
}
