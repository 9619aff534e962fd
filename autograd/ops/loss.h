#pragma once
#include <gradus/autograd/tape.h>

namespace gradus {

/// What becomes of the single losses: their mean, their sum, or nothing.
enum class Reduction { none, mean, sum };

// These take two tensors of one shape, and differentiate with respect to both, unless said.

/// l = |x - target|, with gradient 0 where they are equal.
Tensor l1_loss(const Tensor& x, const Tensor& target, Reduction reduction = Reduction::mean);

/// l = (x - target)^2
Tensor mse_loss(const Tensor& x, const Tensor& target, Reduction reduction = Reduction::mean);

/// l = d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2), d = x - target (Huber 1964).
Tensor huber_loss(const Tensor& x, const Tensor& target, double delta = 1,
                  Reduction reduction = Reduction::mean);

/// l = d^2 / (2 beta) where |d| <= beta, else |d| - beta / 2, d = x - target: huber_loss over beta,
/// l1_loss where beta is 0 (Girshick 2015).
Tensor smooth_l1_loss(const Tensor& x, const Tensor& target, double beta = 1,
                      Reduction reduction = Reduction::mean);

/// What kl_div() is given, and makes of the single losses.
struct KlDivOptions {
  bool log_target = false;                ///< the target holds logarithms, too
  Reduction reduction = Reduction::mean;  ///< of the elements' losses
};

/// l = t (log t - x), x being logarithms of probabilities and t the target's probabilities; 0 where
/// t is, whatever x is there. PyTorch's `batchmean` is the sum over x.size(0).
Tensor kl_div(const Tensor& x, const Tensor& target, const KlDivOptions& options = {});

/// What binary_cross_entropy() makes of the single losses.
struct BinaryCrossEntropyLossOptions {
  Tensor weight = {};                     ///< w below, broadcast to x; a constant
  Reduction reduction = Reduction::mean;  ///< of the elements' losses
};

/// l = -w (z max(log x, -100) + (1 - z) max(log(1 - x), -100)), z the target; x: probabilities,
/// others than from [0, 1] are an error. A logarithm at its limit has gradient 0. From logits
/// binary_cross_entropy_with_logits loses no digits.
Tensor binary_cross_entropy(const Tensor& x, const Tensor& target,
                            const BinaryCrossEntropyLossOptions& options = {});

/// What gaussian_nll_loss() makes of the variance and of the single losses.
struct GaussianNllLossOptions {
  bool full = false;                      ///< add log(2 pi) / 2
  double eps = 1e-6;                      ///< the smallest variance
  Reduction reduction = Reduction::mean;  ///< of the elements' losses
};

/// l = (log v + (x - target)^2 / v) / 2, v = max(var, eps) (Nix & Weigend 1994); as in PyTorch the
/// gradient that reaches v is var's also where it is below eps. A negative var is an error.
/// x, target: one shape   var: that shape, without its last axis, or with sizes of 1
Tensor gaussian_nll_loss(const Tensor& x, const Tensor& target, const Tensor& var,
                         const GaussianNllLossOptions& options = {});

/// y = sum a b / (max(|a|, eps) max(|b|, eps)) along the axis, which goes away; a and b broadcast.
Tensor cosine_similarity(const Tensor& a, const Tensor& b, int64_t axis = 1, double eps = 1e-8);

/// What cosine_embedding_loss() makes of the single losses.
struct CosineEmbeddingLossOptions {
  double margin = 0;                      ///< how similar strangers may be
  Reduction reduction = Reduction::mean;  ///< of the rows' losses
};

/// l = 1 - c where the target is 1, max(c - margin, 0) where it is -1, c the cosine_similarity.
/// a, b: (N, D) or (D)   target: (N) or (), of 1 and -1, any dtype   y: a scalar, or the target's
/// shape if not reduced
Tensor cosine_embedding_loss(const Tensor& a, const Tensor& b, const Tensor& target,
                             const CosineEmbeddingLossOptions& options = {});

/// What binary_cross_entropy_with_logits() makes of the single losses.
struct BinaryCrossEntropyOptions {
  Tensor weight = {};                     ///< w below, broadcast to x; a constant
  Tensor pos_weight = {};                 ///< q below, broadcast to x; a constant
  Reduction reduction = Reduction::mean;  ///< of the elements' losses
};

/// l = -w (q z log p + (1 - z) log(1 - p)), p = sigmoid(x), z the target, from [0, 1]; without
/// overflow.
Tensor binary_cross_entropy_with_logits(const Tensor& x, const Tensor& target,
                                        const BinaryCrossEntropyOptions& options = {});

}  // namespace gradus
