#include <gradus/kernels/update/update.h>
#include <gradus/optim/rmsprop.h>

namespace gradus {

Rmsprop::Rmsprop(std::vector<Tensor> parameters, RmspropOptions options)
    : Optimizer({"square_avg", options.momentum > 0 ? "momentum_buffer" : "",
                 options.centered ? "grad_avg" : ""}),
      options_(options) {
  check(options.alpha >= 0 && options.alpha <= 1, "Rmsprop: alpha {} must lie in [0, 1]",
        options.alpha);
  check_rate("Rmsprop", "eps", options.eps);
  check_rate("Rmsprop", "momentum", options.momentum);
  add_group({std::move(parameters), options.lr, options.weight_decay});
}

void Rmsprop::update(const Update& u) {
  dispatch_floating(u.parameter.dtype(), "Rmsprop", [&]<class T>() {
    const auto moment = [&](int i) {
      return u.moments[i] ? u.moments[i].template mutable_data<T>() : nullptr;
    };
    kernels::rmsprop<T>(u.parameter.numel(), u.gradient.data<T>(), u.parameter.mutable_data<T>(),
                        moment(0), moment(1), moment(2),
                        {.lr = u.lr,
                         .alpha = options_.alpha,
                         .eps = options_.eps,
                         .weight_decay = u.weight_decay,
                         .momentum = options_.momentum});
  });
}

}  // namespace gradus
