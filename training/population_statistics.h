#pragma once
#include <gradus/layers/module.h>

#include <functional>

namespace gradus {

/// Sets running_mean and running_var of every BatchNorm in `model` to those of all values that
/// `forward_all`, which runs the model on every batch of a data set, shows it (Wu & Johnson 2021,
/// section 3, PreciseBN; PyTorch's torch.optim.swa_utils.update_bn averages over batches instead).
/// Of batches with means m_b, biased variances v_b and counts n_b, n together:
///
/// running_mean = sum n_b m_b / n;   running_var = sum n_b (v_b + (m_b - running_mean)^2) / n
///
/// so evaluation on one batch of all the data is what training computes of it, but for how the
/// buffers round: f32 holds a mean of 8e6 to a quarter, which shows where the spread is 1. A model
/// in f64 keeps such means. BatchNorms train while forward_all runs, every other module keeps its
/// mode: after model.eval() dropout is off. Nothing is recorded. num_batches_tracked counts from 0.
/// A BatchNorm that is frozen, keeps no running statistics or sees no batch stays as it is.
///
/// Errors: no batch reached any of the BatchNorms. Where that or forward_all throws, the model is
/// as it was.
///
///     population_statistics(model, [&] { for (const Batch& b : batches) model(b.x); });
void population_statistics(Module& model, const std::function<void()>& forward_all);

}  // namespace gradus
