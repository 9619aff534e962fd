#include <gradus/optim/detail/update_elements.h>
#include <gradus/optim/rmsprop.h>

namespace gradus {

Rmsprop::Rmsprop(std::vector<Tensor> parameters, RmspropOptions options)
    : Rmsprop(std::vector<ParameterGroup>{{std::move(parameters)}}, options) {}

Rmsprop::Rmsprop(const std::vector<ParameterGroup>& groups, RmspropOptions options)
    : Optimizer("Rmsprop", {"square_avg", "momentum_buffer", "grad_avg"}), options_(options) {
  set_constants({{"alpha", &options_.alpha},
                 {"eps", &options_.eps},
                 {"momentum", &options_.momentum},
                 {"centered", &options_.centered},
                 {"maximize", &options_.maximize, false}});
  Rmsprop::check_constants();
  add_groups(groups, options.lr, options.weight_decay);
}

bool Rmsprop::has_moment(size_t m) const {
  return m == 0 || (m == 1 ? options_.momentum > 0 : options_.centered);
}

void Rmsprop::check_constants() const {
  check(options_.alpha >= 0 && options_.alpha <= 1, "Rmsprop: alpha {} must lie in [0, 1]",
        options_.alpha);
  check_rate("Rmsprop", "eps", options_.eps);
  check_rate("Rmsprop", "momentum", options_.momentum);
}

void Rmsprop::update(const Update& u) {
  const auto make_rule = [&]<class T>(auto with_momentum, auto centered) {
    const T lr(u.lr), alpha(options_.alpha), fresh(1 - options_.alpha), eps(options_.eps),
        decay(u.weight_decay), momentum(options_.momentum);
    return [=](T& p, T g, T& v, T& buffer, T& mean) {
      g += decay * p;
      v = alpha * v + fresh * g * g;
      T square = v;
      if constexpr (centered) {
        mean += fresh * (g - mean);
        square -= mean * mean;
        square = square < 0 ? T(0) : square;  // by rounding, when g hardly changes
      }
      T step = g / (math::sqrt(square) + eps);
      if constexpr (with_momentum) step = buffer = step + momentum * buffer;
      p -= lr * step;
    };
  };
  update_elements<3>(u, options_.maximize, make_rule, options_.momentum > 0, options_.centered);
}

}  // namespace gradus
