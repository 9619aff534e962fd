// A network as the solution of a differential equation (Raissi et al. 2019): -u'' = pi^2 sin(pi x)
// on [0, 1], u(0) = u(1) = 0, whose solution is sin(pi x). The loss holds u'', a derivative with
// respect to the input; the optimizer needs its derivative with respect to the weights.
#include <gradus/gradus.h>

#include <cmath>
#include <numbers>

using namespace gradus;

constexpr double kPi = std::numbers::pi;

/// n numbers from 0 to 1, (n, 1).
static Tensor points(int64_t n) { return reshape(linspace(0, 1, n), {n, 1}); }

int main() {
  Sequential net(Linear(1, 32), Tanh(), Linear(32, 32), Tanh(), Linear(32, 1));
  net.initialize(1);
  // x (1 - x) makes any network 0 at both ends.
  const auto u_of = [&](const Tensor& x) { return x * (1.0 - x) * net(x); };

  Tensor x = points(33);
  x.set_requires_grad(true);
  const Tensor f = kPi * kPi * sin(kPi * detach(x));
  Adam optimizer(net.parameters(), {.lr = 3e-3});
  constexpr int64_t kSteps = 1500;
  const Schedule schedule = cosine_schedule(kSteps, 0.01);
  double residual = 0;
  for (int64_t step = 0; step < kSteps; ++step) {
    Tape tape;
    const Tensor u = u_of(x);
    const Tensor slope = tape.gradient(sum(u), x, CreateGraph::yes);
    const Tensor curvature = tape.gradient(sum(slope), x, CreateGraph::yes);
    const Tensor loss = mean(square(curvature + f));
    optimizer.zero_grad();
    tape.backward(loss);
    optimizer.set_lr_factor(schedule(step));
    optimizer.step();
    residual = loss.item();
    if (step % 300 == 0) fmt::print("step {:4}  mean square of u'' + f {:.2e}\n", step, residual);
  }

  const Tensor at = points(101), u = u_of(at), exact = sin(kPi * at);
  fmt::print("\n  x      u(x)    sin(pi x)\n");
  for (int64_t i = 0; i <= 100; i += 20)
    fmt::print("{:4.2f}  {:8.5f}  {:8.5f}\n", at.at({i, 0}), u.at({i, 0}), exact.at({i, 0}));
  const double apart = max(abs(u - exact)).item();
  fmt::print("\nlargest difference at 101 points {:.1e}\n", apart);
  return apart < 2e-3 ? 0 : 1;
}
