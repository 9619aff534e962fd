#include <gradus/optim/detail/update_elements.h>
#include <gradus/optim/sgd.h>

namespace gradus {

Sgd::Sgd(std::vector<Tensor> parameters, SgdOptions options)
    : Sgd(std::vector<ParameterGroup>{{std::move(parameters)}}, options) {}

Sgd::Sgd(const std::vector<ParameterGroup>& groups, SgdOptions options)
    : Optimizer("Sgd", {"momentum_buffer"}), options_(options) {
  set_constants({{"momentum", &options_.momentum},
                 {"dampening", &options_.dampening},
                 {"nesterov", &options_.nesterov},
                 {"maximize", &options_.maximize, false}});
  Sgd::check_constants();
  add_groups(groups, options.lr, options.weight_decay);
}

void Sgd::check_constants() const {
  check_rate("Sgd", "momentum", options_.momentum);
  check_rate("Sgd", "dampening", options_.dampening);
  check(!options_.nesterov || (options_.momentum > 0 && options_.dampening == 0),
        "Sgd: Nesterov needs momentum above 0 (is {}) and no dampening (is {})", options_.momentum,
        options_.dampening);
}

void Sgd::update(const Update& u) {
  const auto make_rule = [&]<class T>(auto with_momentum) {
    const T lr(u.lr), momentum(options_.momentum), fresh(1 - options_.dampening),
        decay(u.weight_decay);
    const bool first = u.step == 1, nesterov = options_.nesterov;
    if constexpr (with_momentum)
      return [=](T& p, T g, T& buffer) {
        g += decay * p;
        buffer = first ? g : momentum * buffer + fresh * g;
        p -= lr * (nesterov ? g + momentum * buffer : buffer);
      };
    else
      return [=](T& p, T g, T&) { p -= lr * (g + decay * p); };
  };
  update_elements<1>(u, options_.maximize, make_rule, options_.momentum != 0);
}

}  // namespace gradus
