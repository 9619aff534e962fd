#include <gradus/autograd/functional/functional.h>
#include <gradus/autograd/ops/cross_entropy.h>
#include <gradus/gradcheck/samples.h>

namespace gradus {

namespace {

Tensor four_labels() { return Tensor::of({2, 0, 1, 2}, DType::i64); }

/// Smoothed, weighted, one label ignored.
Tensor full_cross_entropy(const Tensor& logits, Reduction reduction) {
  return cross_entropy(logits, four_labels(),
                       {.label_smoothing = 0.2,
                        .ignore_index = 1,
                        .weight = Tensor::of({0.5, 1.5, 2}, DType::f64),
                        .reduction = reduction});
}

std::vector<OpSample> cross_entropy_samples() {
  std::vector<OpSample> samples;
  for (Reduction reduction : {Reduction::mean, Reduction::sum, Reduction::none})
    for (bool plain : {true, false})
      samples.push_back({std::string("(4, 3) ") +
                             (reduction == Reduction::mean  ? "mean"
                              : reduction == Reduction::sum ? "sum"
                                                            : "none") +
                             (plain ? "" : ", smoothed, weighted, one ignored"),
                         {sample({4, 3}, 1)},
                         [reduction, plain](std::span<const Tensor> x) {
                           if (!plain) return full_cross_entropy(x[0], reduction);
                           return cross_entropy(x[0], four_labels(), {.reduction = reduction});
                         }});
  samples.push_back({"(2, 3, 2)", {sample({2, 3, 2}, 1)}, [](std::span<const Tensor> x) {
                       return cross_entropy(x[0], Tensor::of({{2, 0}, {1, 1}}, DType::i64));
                     }});
  return samples;
}

std::vector<OpSample> backward_samples() {
  std::vector<OpSample> samples;
  for (Reduction reduction : {Reduction::mean, Reduction::none})
    samples.push_back(
        {reduction == Reduction::mean ? "(4, 3) mean" : "(4, 3) none",
         {sample({4, 3}, 1), reduction == Reduction::mean ? sample({}, 2) : sample({4}, 2)},
         [reduction](std::span<const Tensor> x) {
           return vjp([&](const Tensor& logits) { return full_cross_entropy(logits, reduction); },
                      x[0], x[1]);
         }});
  return samples;
}

}  // namespace

static OpSamples cross_entropy_backward_row("cross_entropy_backward", backward_samples);

static OpSamples cross_entropy_row("cross_entropy", cross_entropy_samples);

}  // namespace gradus
