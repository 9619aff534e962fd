#include <gradus/kernels/update/update.h>
#include <gradus/optim/sgd.h>

namespace gradus {

Sgd::Sgd(std::vector<Tensor> parameters, SgdOptions options)
    : Optimizer({options.momentum != 0 ? "momentum_buffer" : "", "", ""}), options_(options) {
  check_rate("Sgd", "momentum", options.momentum);
  check_rate("Sgd", "dampening", options.dampening);
  check(!options.nesterov || (options.momentum > 0 && options.dampening == 0),
        "Sgd: Nesterov needs momentum above 0 (is {}) and no dampening (is {})", options.momentum,
        options.dampening);
  add_group({std::move(parameters), options.lr, options.weight_decay});
}

void Sgd::update(const Update& u) {
  dispatch_floating(u.parameter.dtype(), "Sgd", [&]<class T>() {
    kernels::sgd<T>(u.parameter.numel(), u.gradient.data<T>(), u.parameter.mutable_data<T>(),
                    u.moments[0] ? u.moments[0].mutable_data<T>() : nullptr,
                    {.lr = u.lr,
                     .momentum = options_.momentum,
                     .dampening = options_.dampening,
                     .weight_decay = u.weight_decay,
                     .nesterov = options_.nesterov,
                     .first = u.step == 1});
  });
}

}  // namespace gradus
