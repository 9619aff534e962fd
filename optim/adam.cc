#include <gradus/optim/adam.h>
#include <gradus/optim/detail/update_elements.h>

#include <algorithm>
#include <cmath>

namespace gradus {

Adam::Adam(std::string method, const std::vector<ParameterGroup>& groups, AdamOptions options,
           bool decoupled)
    : Optimizer(std::move(method), {"exp_avg", "exp_avg_sq", "max_exp_avg_sq"}),
      options_(options),
      decoupled_(decoupled) {
  set_constants({{"beta1", &options_.beta1},
                 {"beta2", &options_.beta2},
                 {"eps", &options_.eps},
                 {"amsgrad", &options_.amsgrad, false},
                 {"maximize", &options_.maximize, false}});
  Adam::check_constants();
  add_groups(groups, options.lr, options.weight_decay);
}

void Adam::check_constants() const {
  const double beta1 = options_.beta1, beta2 = options_.beta2;
  check(beta1 >= 0 && beta1 < 1 && beta2 >= 0 && beta2 < 1,
        "{}: betas {} and {} must lie in [0, 1)", method(), beta1, beta2);
  check_rate(method().c_str(), "eps", options_.eps);
}

/// Of the first step, whose corrections are the largest.
double Adam::largest_factor(double lr, double weight_decay) const {
  const double step_size = lr * std::max(1.0, std::sqrt(1 - options_.beta2) / (1 - options_.beta1));
  return std::max(step_size, decoupled_ ? lr * weight_decay : weight_decay);
}

Adam::Adam(std::vector<Tensor> parameters, AdamOptions options)
    : Adam(std::vector<ParameterGroup>{{std::move(parameters)}}, options) {}

Adam::Adam(const std::vector<ParameterGroup>& groups, AdamOptions options)
    : Adam("Adam", groups, options, false) {}

AdamW::AdamW(std::vector<Tensor> parameters, AdamWOptions options)
    : AdamW(std::vector<ParameterGroup>{{std::move(parameters)}}, options) {}

AdamW::AdamW(const std::vector<ParameterGroup>& groups, AdamWOptions options)
    : Adam("AdamW", groups,
           {options.lr, options.beta1, options.beta2, options.eps, options.weight_decay,
            options.amsgrad, options.maximize},
           true) {}

void Adam::update(const Update& u) {
  const auto make_rule = [&]<class T>(auto amsgrad) {
    // m^ / (sqrt(v^) + eps) is root m / (sqrt(v) + root eps) / correction1: a division less.
    const double step = static_cast<double>(u.step),
                 correction1 = 1 - std::pow(options_.beta1, step),
                 root = std::sqrt(1 - std::pow(options_.beta2, step));
    const bool decoupled = decoupled_;
    const T decay(decoupled ? 1 - u.lr * u.weight_decay : u.weight_decay),
        fresh1(1 - options_.beta1), beta2(options_.beta2), fresh2(1 - options_.beta2),
        eps(options_.eps * root), step_size(u.lr * root / correction1);
    return [=](T& p, T g, T& m, T& v, T& largest) {
      if (decoupled)
        p *= decay;
      else
        g += decay * p;
      m += fresh1 * (g - m);
      v = beta2 * v + fresh2 * g * g;
      T square = v;
      if constexpr (amsgrad) square = largest = v > largest ? v : largest;
      p -= step_size * (m / (math::sqrt(square) + eps));
    };
  };
  update_elements<3, kernels::kFunctionGrain>(u, options_.maximize, make_rule, options_.amsgrad);
}

}  // namespace gradus
