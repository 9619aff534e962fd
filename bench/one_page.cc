// A user's program of one page, as short as they come. The figures say what it takes to compile
// and to run: `one_page [STEPS]`, 1 by default.
#include <gradus/data/loader.h>
#include <gradus/gradus.h>
#include <gradus/models/mlp.h>
#include <gradus/optim/adam.h>

#include <cstdlib>

using namespace gradus;

int main(int argc, char** argv) {
  int steps = argc > 1 ? std::atoi(argv[1]) : 1;
  const Split data = train_test_split(digits(), 0.2, 1);
  Mlp model(64, 10, {.hidden = {64, 64}, .norm = Norm::layer});
  Adam optimizer(model.parameters(), {.lr = 3e-3});
  DataLoader loader(data.train, {.batch_size = 64});
  double last = 0;
  for (uint64_t epoch = 0; steps > 0; ++epoch) {
    for (const Batch& batch : loader.epoch(epoch)) {
      if (steps-- == 0) break;
      Tape tape;
      const Tensor loss = cross_entropy(model(batch.x), batch.y);
      optimizer.zero_grad();
      tape.backward(loss);
      optimizer.step();
      last = loss.item();
    }
  }
  fmt::print("loss {:.4f}\n", last);
}
