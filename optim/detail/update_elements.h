#pragma once
#include <gradus/kernels/update/update.h>
#include <gradus/kernels/vector/flags.h>
#include <gradus/kernels/vector/math.h>
#include <gradus/optim/optimizer.h>

#include <cassert>
#include <utility>

namespace gradus {

/// One pass over a parameter of a method with `count` moments, vectorized, a thread taking `grain`
/// elements at a time: make_rule.operator()<T>(flags...) prepares a rule for the parameter's type,
/// and rule(p, g, moments...) updates each element p of gradient g, or -g to maximize. Flags, as
/// bool constants, tell of moments that the options leave out: the rule takes them, and does not
/// touch them.
template <size_t count, int64_t grain = kernels::kGrain / 2, class MakeRule, class... Flags>
void update_elements(const Optimizer::Update& u, bool maximize, const MakeRule& make_rule,
                     Flags... flags) {
  assert(u.moments.size() == count);
  dispatch_floating(u.parameter.dtype(), "Optimizer", [&]<class T>() {
    T* p = u.parameter.mutable_data<T>();
    const auto moment = [p](Tensor& m) { return m ? m.mutable_data<T>() : p; };
    const auto run = [&]<size_t... i>(const auto& rule, std::index_sequence<i...>) {
      const auto signed_rule = [rule, sign = T(maximize ? -1 : 1)](T& to, T g, auto&... moments) {
        rule(to, sign * g, moments...);
      };
      kernels::update(u.parameter.numel(), grain, signed_rule, p, u.gradient.data<T>(),
                      moment(u.moments[i])...);
    };
    kernels::with_flags(
        [&](auto... known) {
          run(make_rule.template operator()<T>(known...), std::make_index_sequence<count>());
        },
        flags...);
  });
}

}  // namespace gradus
