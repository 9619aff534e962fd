#include <gradus/gradus.h>

#include <cstdio>

int main() {
  gradus::Tensor x = gradus::Tensor::of({1, 2, 3}).set_requires_grad();
  gradus::Tape tape;
  tape.backward(gradus::sum(gradus::square(x)));
  std::printf("%g %g %g\n", x.grad().at({0}), x.grad().at({1}), x.grad().at({2}));
  return x.grad().at({2}) == 6 ? 0 : 1;
}
