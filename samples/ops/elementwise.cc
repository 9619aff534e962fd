#include <gradus/autograd/functional/functional.h>
#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/gradcheck/samples.h>
#include <gradus/kernels/elementwise/functors.h>

namespace gradus {

namespace {

using functions::Domain;

template <Tensor (*f)(const Tensor&), Domain domain = Domain::all>
std::vector<OpSample> unary_samples() {
  return {
      {"(3, 5)", {sample({3, 5}, 1, 0.3, 2.2)}, [](std::span<const Tensor> x) { return f(x[0]); }},
      {"negated (7,)", {sample({7}, 2, 0.2, 1.8)}, [](std::span<const Tensor> x) {
         return f(domain == Domain::positive ? x[0] : mul(x[0], -1));
       }}};
}

Tensor gelu_exact(const Tensor& x) { return gelu(x); }
Tensor gelu_tanh(const Tensor& x) { return gelu(x, GeluForm::tanh); }
Tensor clamped(const Tensor& x) { return clamp(x, -0.9, 1.1); }
Tensor leaky(const Tensor& x) { return leaky_relu(x, 0.2); }
Tensor elu_of_2(const Tensor& x) { return elu(x, 2); }
Tensor power(const Tensor& x) { return pow(x, 1.7); }
Tensor plus(const Tensor& x) { return add(x, -1.3); }
Tensor times(const Tensor& x) { return mul(x, -1.3); }
Tensor over(const Tensor& x) { return div(x, -1.3); }
Tensor under(const Tensor& x) { return div(-1.3, x); }
Tensor line(const Tensor& x) { return affine(x, -1.3, 0.7); }
Tensor product(const Tensor& x) { return pow(x, -3); }

Tensor relued(const Tensor& x) { return relu(x); }
Tensor absolute(const Tensor& x) { return abs(x); }
Tensor larger(const Tensor& x) { return maximum(x, zeros_like(x)); }
Tensor larger_than_0(const Tensor& x) { return maximum(zeros_like(x), x); }

/// The gradient of f as a function of dy.
template <Tensor (*f)(const Tensor&)>
std::vector<OpSample> gradient_samples() {
  return {{"(3, 5)", {sample({3, 5}, 1)}, [](std::span<const Tensor> dy) {
             return vjp([](const Tensor& x) { return f(x); },
                        sample({3, 5}, 2).set_requires_grad(false), dy[0]);
           }}};
}

OpSamples rows[] = {
#define GRADUS_UNARY(Functor, op, domain, ...) {#op, unary_samples<op, Domain::domain>},
#include <gradus/kernels/elementwise/formulas.inc>
    {"gelu", unary_samples<gelu_exact>},
    {"gelu_tanh", unary_samples<gelu_tanh>},
    {"clamp", unary_samples<clamped>},
    {"leaky_relu", unary_samples<leaky>},
    {"elu", unary_samples<elu_of_2>},
    {"pow_scalar", unary_samples<power, Domain::positive>},
    {"add_scalar", unary_samples<plus>},
    {"mul_scalar", unary_samples<times>},
    {"div_scalar", unary_samples<over>},
    {"scalar_div", unary_samples<under>},
    {"affine", unary_samples<line>},
    {"pow_integer", unary_samples<product>},
    {"relu_gradient", gradient_samples<relued>},
    {"abs_gradient", gradient_samples<absolute>},
    {"clamp_gradient", gradient_samples<clamped>},
    {"ahead_gradient", gradient_samples<larger>},
    {"behind_gradient", gradient_samples<larger_than_0>},
};

}  // namespace

}  // namespace gradus
