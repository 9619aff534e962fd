// A plugin that computes with helper threads.
#include <gradus/autograd/ops/matmul.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/tensor/runtime.h>

extern "C" int works() {
  using namespace gradus;
  set_threads(2);
  const Tensor x = ones({300, 300}).set_requires_grad();
  Tape tape;
  tape.backward(sum(matmul(x, x)));
  return x.grad().at({0, 0}) == 600;
}
