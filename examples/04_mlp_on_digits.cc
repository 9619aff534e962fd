#include <gradus/gradus.h>

using namespace gradus;

int main() {
  Split data = train_test_split(digits(), 0.2, 1);
  Mlp model(64, 10, {.hidden = {64, 64}, .norm = Norm::layer});
  Adam optimizer(model.parameters(), {.lr = 3e-3});
  DataLoader loader(data.train, {.batch_size = 64});
  for (uint64_t epoch = 0; epoch < 10; ++epoch) {
    for (const Batch& batch : loader.epoch(epoch)) {
      Tape tape;  // records from here to the end of the scope
      Tensor loss = cross_entropy(model(batch.x), batch.y);
      optimizer.zero_grad();
      tape.backward(loss);  // adds into parameter.grad()
      optimizer.step();
    }
  }
  model.eval();
  Tensor right = cast(equal(argmax(model(data.test.x), 1), data.test.y), DType::f32);
  double accuracy = mean(right).item();
  fmt::print("test accuracy {:.1f} %\n", 100 * accuracy);
  return accuracy > 0.9 ? 0 : 1;
}
