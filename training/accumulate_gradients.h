#pragma once
#include <gradus/layers/module.h>

#include <functional>

namespace gradus {

/// Adds the gradients of a batch that comes in parts, as of one backward of the whole, into the
/// parameters of `model`; returns the whole loss. loss_of(i), i = 0 .. parts - 1, computes a part's
/// share of the loss, of which the whole is the sum; the tape is there, and no other is to be made:
///
///     optimizer.zero_grad();
///     accumulate_gradients(model, 4, [&](int64_t i) {
///       const Batch b = part(i);
///       return cross_entropy(model(b.x), b.y, {.reduction = Reduction::sum}) / whole_size;
///     });
///     optimizer.step();
///
/// A model whose BatchNorms do not train needs one pass over the parts, and so little memory as a
/// part does. BatchNorms that train normalize by the whole batch's statistics, so that values,
/// gradients and running statistics are the whole batch's to rounding. That takes 2 n + 1 passes
/// where one forward runs BatchNorms n times: n in which each is shown what those before it make of
/// all parts, n in which, from the last to the first, its statistics get their gradient, and one in
/// which the parameters get theirs (docs/derivations/layer_norm.md has the pieces: mean and
/// variance are sums over all values, and so is what flows back through them).
///
/// Each part must run the same BatchNorms in the same order, and give the same each time it is
/// asked; what default_generator() draws, as in Dropout, is the same in each pass.
///
/// Errors: no parts, a loss that is not one number, BatchNorms with ghost groups, which are of one
/// part alone, parts that run different ones, one value a channel in all. Where that or loss_of
/// throws, gradients, buffers and generator are as they were.
double accumulate_gradients(Module& model, int64_t parts,
                            const std::function<Tensor(int64_t part)>& loss_of);

}  // namespace gradus
