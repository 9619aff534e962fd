// The tape: recording, sweeping back, a gradient of a gradient, and a look at what was recorded.
#include <gradus/gradus.h>

using namespace gradus;

int main() {
  // A leaf is a tensor that asks for a gradient.
  Tensor x = Tensor::of({1, 2, 3}).set_requires_grad().set_name("x");
  const Tensor c = Tensor::of({2, 2, 5});

  // While a tape lives, it writes down each operation that a leaf takes part in. Nothing else.
  Tape tape;
  const Tensor y = sum(x * x * c);
  fmt::print("y = sum(c x^2) = {}, and before the sweep the tape holds\n\n{}\n", y.item(),
             listing(tape));
  const bool recorded = tape.size() == 4;  // x and three results; c asks for nothing

  // backward() goes down the list from y and adds dy/dx = 2 c x into x.grad(). What a node had kept
  // for that goes as soon as it is used.
  tape.backward(y);
  fmt::print("after backward(y), x.grad() is {}\n\n{}\n", x.grad(), listing(tape));
  const bool right = x.grad().to_vector<float>() == std::vector<float>{4, 8, 30};
  const bool released = tape.kept_bytes() == 0;

  // gradient() returns what it finds instead; with CreateGraph::yes it records its own operations,
  // so that its results can be differentiated again: x^4 -> 4 x^3 -> 12 x^2 -> 24 x.
  const Tensor fourth_power = sum(square(square(x)));
  const Tensor first = tape.gradient(fourth_power, x, CreateGraph::yes);
  const Tensor second = tape.gradient(sum(first), x, CreateGraph::yes);
  const Tensor third = tape.gradient(sum(second), x);
  fmt::print(
      "x^4 at x = {}:\n  first derivative  {}\n  second            {}\n  third             {}\n", x,
      first, second, third);
  const bool higher = first.to_vector<float>() == std::vector<float>{4, 32, 108} &&
                      second.to_vector<float>() == std::vector<float>{12, 48, 108} &&
                      third.to_vector<float>() == std::vector<float>{24, 48, 72};
  return recorded && right && released && higher ? 0 : 1;
}
