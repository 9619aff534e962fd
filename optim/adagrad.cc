#include <gradus/optim/adagrad.h>
#include <gradus/optim/detail/update_elements.h>

namespace gradus {

Adagrad::Adagrad(std::vector<Tensor> parameters, AdagradOptions options)
    : Adagrad(std::vector<ParameterGroup>{{std::move(parameters)}}, options) {}

Adagrad::Adagrad(const std::vector<ParameterGroup>& groups, AdagradOptions options)
    : Optimizer("Adagrad", {"sum"}), options_(options) {
  set_constants({{"lr_decay", &options_.lr_decay},
                 {"initial_accumulator_value", &options_.initial_accumulator_value},
                 {"eps", &options_.eps},
                 {"maximize", &options_.maximize}});
  Adagrad::check_constants();
  add_groups(groups, options.lr, options.weight_decay);
}

void Adagrad::check_constants() const {
  check_rate("Adagrad", "lr_decay", options_.lr_decay);
  check_rate("Adagrad", "initial_accumulator_value", options_.initial_accumulator_value);
  check_rate("Adagrad", "eps", options_.eps);
}

void Adagrad::update(const Update& u) {
  update_elements<1>(u, options_.maximize, [&]<class T>() {
    const double earlier = static_cast<double>(u.step - 1);
    const T lr(u.lr / (1 + earlier * options_.lr_decay)), decay(u.weight_decay), eps(options_.eps),
        initial(u.step == 1 ? options_.initial_accumulator_value : 0);
    return [=](T& p, T g, T& total) {
      g += decay * p;
      total += initial + g * g;
      p -= lr * (g / (math::sqrt(total) + eps));
    };
  });
}

}  // namespace gradus
