// A program that calls two ops and holds few more: what is linked statically is what is called.
#include <gradus/autograd/op.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/autograd/ops/reduce.h>

#include <cstdio>

int main() {
  using namespace gradus;
  Tensor x = Tensor::of({1, 2, 3}).set_requires_grad();
  Tape tape;
  tape.backward(sum(square(x)));
  for (const Op* op : all_ops()) std::printf("%s\n", op->name);
  return x.grad().at({2}) == 6 ? 0 : 1;
}
