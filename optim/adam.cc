#include <gradus/optim/adam.h>
#include <gradus/optim/detail/update_elements.h>

#include <algorithm>
#include <cmath>

namespace gradus {

Adam::Adam(std::string method, std::vector<Tensor> parameters, AdamOptions options, bool decoupled)
    : Optimizer(std::move(method), {"exp_avg", "exp_avg_sq"}),
      options_(options),
      decoupled_(decoupled) {
  set_constants({{"beta1", &options_.beta1}, {"beta2", &options_.beta2}, {"eps", &options_.eps}});
  Adam::check_constants();
  add_group({std::move(parameters), options.lr, options.weight_decay});
}

void Adam::check_constants() const {
  const auto& [lr, beta1, beta2, eps, weight_decay] = options_;
  check(beta1 >= 0 && beta1 < 1 && beta2 >= 0 && beta2 < 1,
        "{}: betas {} and {} must lie in [0, 1)", method(), beta1, beta2);
  check_rate(method().c_str(), "eps", eps);
}

/// Of the first step, whose corrections are the largest.
double Adam::largest_factor(double lr, double weight_decay) const {
  const double step_size = lr * std::max(1.0, std::sqrt(1 - options_.beta2) / (1 - options_.beta1));
  return std::max(step_size, decoupled_ ? lr * weight_decay : weight_decay);
}

Adam::Adam(std::vector<Tensor> parameters, AdamOptions options)
    : Adam("Adam", std::move(parameters), options, false) {}

AdamW::AdamW(std::vector<Tensor> parameters, AdamWOptions options)
    : Adam("AdamW", std::move(parameters),
           {options.lr, options.beta1, options.beta2, options.eps, options.weight_decay}, true) {}

void Adam::update(const Update& u) {
  update_elements<2, kernels::kFunctionGrain>(u, [&]<class T>() {
    // m^ / (sqrt(v^) + eps) is root m / (sqrt(v) + root eps) / correction1: a division less.
    const double step = static_cast<double>(u.step),
                 correction1 = 1 - std::pow(options_.beta1, step),
                 root = std::sqrt(1 - std::pow(options_.beta2, step));
    const bool decoupled = decoupled_;
    const T decay(decoupled ? 1 - u.lr * u.weight_decay : u.weight_decay),
        fresh1(1 - options_.beta1), beta2(options_.beta2), fresh2(1 - options_.beta2),
        eps(options_.eps * root), step_size(u.lr * root / correction1);
    return [=](T& p, T g, T& m, T& v) {
      if (decoupled)
        p *= decay;
      else
        g += decay * p;
      m += fresh1 * (g - m);
      v = beta2 * v + fresh2 * g * g;
      p -= step_size * (m / (math::sqrt(v) + eps));
    };
  });
}

}  // namespace gradus
