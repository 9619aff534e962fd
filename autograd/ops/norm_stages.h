#pragma once
#include <gradus/autograd/ops/norm.h>

namespace gradus {

// The norms in stages, each an expression of recorded ops with its intermediates named: to read
// beside docs/derivations, and to compare with the fused ops node by node. All are correct to any
// order.

/// The groups of elements that share mean and variance: x, seen as `shape`, over `axes`.
struct NormGroups {
  Shape shape;          ///< any; (rows, D) for LayerNorm, (outer, C, inner) for BatchNorm
  Axes axes;            ///< any; {1}, or {0, 2}
  Shape weights;        ///< weight and bias broadcast to `shape`: (D), or (1, C, 1)
  Tensor valid;         ///< bool, broadcasts to `shape`; none: all
  double count;         ///< elements of a group
  bool centred = true;  ///< otherwise 0 stands for the mean, and the mean square for the variance
};
/// The groups of layer_norm, rms_norm, group_norm and batch_norm for such an x.
NormGroups layer_norm_groups(const Tensor& x, const Shape& normalized_shape,
                             const Tensor& valid = {});
NormGroups rms_norm_groups(const Tensor& x, const Shape& normalized_shape,
                           const Tensor& valid = {});
NormGroups group_norm_groups(const Tensor& x, int64_t groups, const Tensor& valid = {});
NormGroups batch_norm_groups(const Tensor& x, ChannelAxis axis = ChannelAxis::second,
                             const Tensor& valid = {});

/// v with 0 where positions are not valid.
Tensor clear_invalid(const NormGroups& groups, const Tensor& v);
/// The mean of v over each group's valid elements; v: groups.shape.
Tensor group_mean(const NormGroups& groups, const Tensor& v);

/// What a norm computes on the way to y.
struct NormForward {
  Tensor mean, variance, rstd;  ///< one a group
  Tensor xhat;                  ///< (x - mean) rstd, of groups.shape
  Tensor y;                     ///< of x's shape
};
/// y = xhat weight + bias
NormForward norm_forward(const NormGroups& groups, const Tensor& x, const Tensor& weight,
                         const Tensor& bias, double eps);

/// The same with statistics from anywhere, e.g. of several batches together (Chan et al. 1979), and
/// a gradient through them. mean, variance: one a group, i.e. of groups.shape with 1 for its axes.
NormForward normalize_with(const NormGroups& groups, const Tensor& x, const Tensor& mean,
                           const Tensor& variance, const Tensor& weight, const Tensor& bias,
                           double eps);

/// With g = weight dy and means over a group:
/// dx = rstd (g - mean(g) - xhat mean(g xhat)) = direct - mean_term - variance_term; without a mean
/// to centre by, mean(g) is 0, too.
struct NormBackward {
  Tensor g, mean_g, mean_g_xhat;            ///< weight dy, and means over a group
  Tensor direct, mean_term, variance_term;  ///< groups.shape
  Tensor dx, dweight, dbias;                ///< the gradients
};
/// The gradients of norm_forward by x, weight and bias.
NormBackward norm_backward(const NormGroups& groups, const NormForward& forward,
                           const Tensor& weight, const Tensor& dy);

/// The gradient of that: of <ddx, dx> + <ddweight, dweight> + <ddbias, dbias>, any of which may be
/// empty, with respect to x, weight and dy (docs/derivations/layer_norm.md, second order).
struct NormSecond {
  Tensor x, weight, dy;  ///< the gradients with respect to these
};
NormSecond norm_backward_backward(const NormGroups& groups, const Tensor& x, const Tensor& weight,
                                  const Tensor& dy, double eps, const Tensor& ddx,
                                  const Tensor& ddweight, const Tensor& ddbias);

}  // namespace gradus
