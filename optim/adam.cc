#include <gradus/kernels/update/update.h>
#include <gradus/optim/adam.h>

#include <cmath>

namespace gradus {

Adam::Adam(const char* name, std::vector<Tensor> parameters, AdamOptions options, bool decoupled)
    : Optimizer({"exp_avg", "exp_avg_sq", ""}), options_(options), decoupled_(decoupled) {
  check(options.beta1 >= 0 && options.beta1 < 1 && options.beta2 >= 0 && options.beta2 < 1,
        "{}: betas {} and {} must lie in [0, 1)", name, options.beta1, options.beta2);
  check_rate(name, "eps", options.eps);
  add_group({std::move(parameters), options.lr, options.weight_decay});
}

Adam::Adam(std::vector<Tensor> parameters, AdamOptions options)
    : Adam("Adam", std::move(parameters), options, false) {}

AdamW::AdamW(std::vector<Tensor> parameters, AdamWOptions options)
    : Adam("AdamW", std::move(parameters),
           {options.lr, options.beta1, options.beta2, options.eps, options.weight_decay}, true) {}

void Adam::update(const Update& u) {
  const double step = static_cast<double>(u.step);
  dispatch_floating(u.parameter.dtype(), "Adam", [&]<class T>() {
    kernels::adam<T>(u.parameter.numel(), u.gradient.data<T>(), u.parameter.mutable_data<T>(),
                     u.moments[0].mutable_data<T>(), u.moments[1].mutable_data<T>(),
                     {.lr = u.lr,
                      .beta1 = options_.beta1,
                      .beta2 = options_.beta2,
                      .eps = options_.eps,
                      .weight_decay = u.weight_decay,
                      .decoupled = decoupled_,
                      .correction1 = 1 - std::pow(options_.beta1, step),
                      .correction2 = 1 - std::pow(options_.beta2, step)});
  });
}

}  // namespace gradus
