#pragma once
#include <gradus/autograd/tape.h>

namespace gradus {

// One function of each element; f32 or f64, abs, square, clamp, sign and what arithmetic.h has of a
// number of i64, too, modulo 2^64 and without a gradient. Values and derivatives are the rows of
// kernels/elementwise/formulas.inc, from which the definitions follow.

/// e^x
Tensor exp(const Tensor& x);
/// The natural logarithm; NaN for x < 0
Tensor log(const Tensor& x);
/// The square root; NaN for x < 0
Tensor sqrt(const Tensor& x);
/// 1 / sqrt(x)
Tensor rsqrt(const Tensor& x);
/// |x|; its derivative at 0 is 0.
Tensor abs(const Tensor& x);
/// The sine of x radians
Tensor sin(const Tensor& x);
/// The cosine of x radians
Tensor cos(const Tensor& x);
/// (e^x - e^-x) / (e^x + e^-x)
Tensor tanh(const Tensor& x);
/// 2 / sqrt(pi) times the integral of e^(-t^2) from 0 to x
Tensor erf(const Tensor& x);
/// x^2
Tensor square(const Tensor& x);
/// 1 / x
Tensor reciprocal(const Tensor& x);
/// 1 / (1 + exp(-x))
Tensor sigmoid(const Tensor& x);
/// max(x, 0); its derivative at 0 is 0.
Tensor relu(const Tensor& x);
/// dy where relu's result y is positive or NaN, else 0: for ops that end in a relu.
Tensor relu_gradient(const Tensor& dy, const Tensor& y);
/// The part of dy that belongs to a, or to b, in the maximum of a and b, of which `order` is 1, 0
/// or -1 as a is larger, equal or smaller: all, half or none of it, all where it is NaN.
Tensor ahead_gradient(const Tensor& dy, const Tensor& order);
Tensor behind_gradient(const Tensor& dy, const Tensor& order);
/// x Phi(x), Phi the normal distribution function (Hendrycks & Gimpel 2016); `tanh` is the paper's
/// approximation 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))).
enum class GeluForm { exact, tanh };
Tensor gelu(const Tensor& x, GeluForm form = GeluForm::exact);
/// x sigmoid(x)
Tensor silu(const Tensor& x);
/// log(1 + x), to all digits where x is near 0; NaN for x < -1
Tensor log1p(const Tensor& x);
/// e^x - 1, to all digits where x is near 0
Tensor expm1(const Tensor& x);
/// x where x > 0, else negative_slope x, with that slope at 0 (Maas et al. 2013).
Tensor leaky_relu(const Tensor& x, double negative_slope = 0.01);
/// x where x > 0, else alpha (e^x - 1), whose slope it has at 0 (Clevert et al. 2015).
Tensor elu(const Tensor& x, double alpha = 1);
/// log(1 + exp(x)); PyTorch's is x itself beyond 20, which differs by up to 2e-9.
Tensor softplus(const Tensor& x);
/// x limited to [low, high], NaN for NaN; dy passes on the closed interval and at NaN.
Tensor clamp(const Tensor& x, double low, double high);
/// The same with bounds that broadcast, an empty Tensor being none. Where low is above high, y is
/// high. A bound that y is has dy, x where they are equal.
Tensor clamp(const Tensor& x, const Tensor& low, const Tensor& high);

// Constants to the tape: their derivative is 0.
/// 1 where x > 0, else 0
Tensor step(const Tensor& x);
/// -1, 0 or 1
Tensor sign(const Tensor& x);
/// The nearest integer; of two that are as near the even one.
Tensor round(const Tensor& x);
/// The largest integer that is not above x.
Tensor floor(const Tensor& x);
/// The smallest integer that is not below x.
Tensor ceil(const Tensor& x);
/// 1 where low <= x <= high, else 0
Tensor inside(const Tensor& x, double low, double high);

}  // namespace gradus
