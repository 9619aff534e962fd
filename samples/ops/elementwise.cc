#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/elementwise.h>
#include <gradus/gradcheck/samples.h>

namespace gradus {

namespace {

enum class Domain { all, positive };

/// Off the kinks at 0 and inside the domain of log, sqrt and powers.
template <Tensor (*f)(const Tensor&), Domain domain>
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
Tensor power(const Tensor& x) { return pow(x, 1.7); }
Tensor plus(const Tensor& x) { return add(x, -1.3); }
Tensor times(const Tensor& x) { return mul(x, -1.3); }
Tensor over(const Tensor& x) { return div(x, -1.3); }

OpSamples rows[] = {
    {"neg", unary_samples<neg, Domain::all>},
    {"exp", unary_samples<exp, Domain::all>},
    {"log", unary_samples<log, Domain::positive>},
    {"sqrt", unary_samples<sqrt, Domain::positive>},
    {"rsqrt", unary_samples<rsqrt, Domain::positive>},
    {"abs", unary_samples<abs, Domain::all>},
    {"sin", unary_samples<sin, Domain::all>},
    {"cos", unary_samples<cos, Domain::all>},
    {"tanh", unary_samples<tanh, Domain::all>},
    {"erf", unary_samples<erf, Domain::all>},
    {"sigmoid", unary_samples<sigmoid, Domain::all>},
    {"relu", unary_samples<relu, Domain::all>},
    {"gelu", unary_samples<gelu_exact, Domain::all>},
    {"gelu_tanh", unary_samples<gelu_tanh, Domain::all>},
    {"silu", unary_samples<silu, Domain::all>},
    {"softplus", unary_samples<softplus, Domain::all>},
    {"square", unary_samples<square, Domain::all>},
    {"reciprocal", unary_samples<reciprocal, Domain::all>},
    {"clamp", unary_samples<clamped, Domain::all>},
    {"pow_scalar", unary_samples<power, Domain::positive>},
    {"add_scalar", unary_samples<plus, Domain::all>},
    {"mul_scalar", unary_samples<times, Domain::all>},
    {"div_scalar", unary_samples<over, Domain::all>},
};

}  // namespace

}  // namespace gradus
