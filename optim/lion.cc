#include <gradus/optim/detail/update_elements.h>
#include <gradus/optim/lion.h>

#include <algorithm>

namespace gradus {

Lion::Lion(std::vector<Tensor> parameters, LionOptions options)
    : Lion(std::vector<ParameterGroup>{{std::move(parameters)}}, options) {}

Lion::Lion(const std::vector<ParameterGroup>& groups, LionOptions options)
    : Optimizer("Lion", {"exp_avg"}), options_(options) {
  set_constants({{"beta1", &options_.beta1}, {"beta2", &options_.beta2}});
  Lion::check_constants();
  add_groups(groups, options.lr, options.weight_decay);
}

void Lion::check_constants() const {
  const double beta1 = options_.beta1, beta2 = options_.beta2;
  check(beta1 >= 0 && beta1 < 1 && beta2 >= 0 && beta2 < 1,
        "Lion: betas {} and {} must lie in [0, 1)", beta1, beta2);
}

double Lion::largest_factor(double lr, double weight_decay) const {
  return std::max(lr, lr * weight_decay);
}

void Lion::update(const Update& u) {
  update_elements<1>(u, false, [&]<class T>() {
    const T lr(u.lr), keep(1 - u.lr * u.weight_decay), beta1(options_.beta1),
        fresh1(1 - options_.beta1), fresh2(1 - options_.beta2);
    return [=](T& p, T g, T& m) {
      const T c = beta1 * m + fresh1 * g;
      const T sign = c > 0 ? T(1) : c < 0 ? T(-1) : c;
      p = keep * p - lr * sign;
      m += fresh2 * (g - m);
    };
  });
}

}  // namespace gradus
