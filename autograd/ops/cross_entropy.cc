#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/detail/optional.h>
#include <gradus/autograd/ops/loss.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/autograd/ops/softmax.h>

#include <numeric>

namespace gradus {

namespace {

struct CrossEntropyAttrs {
  kernels::CrossEntropyOptions options;
  double total_weight;
};

/// The gradient with respect to x, rows of logits, of the loss (or losses) whose gradient is dy.
Tensor cross_entropy_backward(const Tensor& x, const Tensor& labels, const Tensor& weight,
                              const Tensor& dy, const CrossEntropyAttrs& attrs);

/// How much of softmax there is in each row's gradient: (rows, 1), 0 where the label is ignored.
Tensor softmax_share(const Tensor& labels, const Tensor& weight, int64_t classes, DType dtype,
                     const CrossEntropyAttrs& attrs) {
  const kernels::CrossEntropyOptions& options = attrs.options;
  Tensor share = empty({labels.numel(), 1}, dtype);
  dispatch_floating(dtype, "cross_entropy", [&]<class T>() {
    const T* w = pointer<T>(weight);
    const double sum_w = w ? std::accumulate(w, w + classes, 0.0) : static_cast<double>(classes);
    const double smooth = options.label_smoothing * sum_w / static_cast<double>(classes);
    const double scale = options.reduction == Reduction::mean ? 1 / attrs.total_weight : 1;
    const int64_t* label = labels.data<int64_t>();
    T* result = share.mutable_data<T>();
    for (int64_t i = 0; i < labels.numel(); ++i) {
      const double own = label[i] == options.ignore_index ? 0.0 : w ? double{w[label[i]]} : 1.0;
      result[i] = label[i] == options.ignore_index
                      ? T(0)
                      : static_cast<T>(scale * ((1 - options.label_smoothing) * own + smooth));
    }
  });
  return share;
}

/// (N, C, ...) as rows of logits.
Tensor class_rows(const Tensor& logits) {
  if (logits.ndim() == 2) return logits;
  Axes order{0};
  for (int i = 2; i < logits.ndim(); ++i) order.push_back(i);
  order.push_back(1);
  const int64_t classes = logits.shape()[1];
  return reshape(permute(logits, order), {classes ? logits.numel() / classes : 0, classes});
}

void check_cross_entropy(const Tensor& logits, const Tensor& labels,
                         const CrossEntropyOptions& options) {
  check(labels.dtype() == DType::i64, "cross_entropy: labels are {}, not i64",
        name(labels.dtype()));
  check(logits.ndim() >= 2 && logits.shape()[1] > 0 && labels.shape() == logits.shape().erased(1),
        "cross_entropy: logits {} and labels {}; needs (N, C, ...) and (N, ...)", logits.shape(),
        labels.shape());
  check(options.label_smoothing >= 0 && options.label_smoothing <= 1,
        "cross_entropy: the label smoothing {} does not lie in [0, 1]", options.label_smoothing);
  const Tensor& weight = options.weight;
  if (!weight) return;
  check_same_dtype("cross_entropy", logits, weight);
  check(weight.ndim() == 1 && weight.numel() == logits.shape()[1] && !needs_grad(weight),
        "cross_entropy: a weight of shape {} for {} classes; it must be a constant of one element "
        "for each",
        weight.shape(), logits.shape()[1]);
}

// dx = dy (a p - b) in each row, p = softmax(x), a and b constants; with g its gradient:
// d dy = the sum of g (a p - b), and d x = softmax's gradient for dy a g
Op cross_entropy_backward_op("cross_entropy_backward", [](Backward& ctx) {
  const auto& attrs = ctx.attrs<CrossEntropyAttrs>();
  const Tensor x = ctx.kept(0), labels = ctx.kept(1), weight = ctx.kept(2), dy = ctx.kept(3);
  const bool single = attrs.options.reduction != Reduction::none;
  const Tensor& g = ctx.dy();
  if (ctx.needs(0)) {
    const Tensor share = softmax_share(labels, weight, x.shape()[1], x.dtype(), attrs);
    const Tensor scale = share * (single ? dy : unsqueeze(dy, 1));
    ctx.set(0, softmax_backward(softmax(x), g * scale));
  }
  if (ctx.needs(1)) {
    const Tensor unit = cross_entropy_backward(x, labels, weight, ones_like(dy), attrs);
    ctx.set(1, sum(g * unit, single ? Axes{} : Axes{1}));
  }
});

Tensor cross_entropy_backward(const Tensor& x, const Tensor& labels, const Tensor& weight,
                              const Tensor& dy, const CrossEntropyAttrs& attrs) {
  const raw::Contiguous values(x), gradient(dy);
  Tensor dx = empty_like(x);
  dispatch_floating(x.dtype(), "cross_entropy_backward", [&]<class T>() {
    kernels::cross_entropy_backward<T>(
        x.shape()[0], x.shape()[1], values.data<T>(), labels.data<int64_t>(), pointer<T>(weight),
        attrs.options, attrs.total_weight, gradient.data<T>(), dx.mutable_data<T>());
  });
  return record(cross_entropy_backward_op, std::move(dx), {x, dy}, {x, labels, weight, dy}, attrs);
}

// y = -log softmax(x)[label], weighted, smoothed and reduced; its gradient is the op above
// (docs/derivations/softmax_cross_entropy.md)
Op cross_entropy_op("cross_entropy", [](Backward& ctx) {
  ctx.set(0, cross_entropy_backward(ctx.kept(0), ctx.kept(1), ctx.kept(2), ctx.dy(),
                                    ctx.attrs<CrossEntropyAttrs>()));
});

}  // namespace

Tensor cross_entropy(const Tensor& logits, const Tensor& labels,
                     const CrossEntropyOptions& options) {
  check_cross_entropy(logits, labels, options);
  const Tensor x = class_rows(logits);
  const raw::Contiguous values(x), targets(labels), weight(options.weight);
  const Reduction reduction = options.reduction;
  CrossEntropyAttrs attrs{{options.label_smoothing, options.ignore_index, reduction}, 0};
  Tensor y = empty(reduction == Reduction::none ? Shape{x.shape()[0]} : Shape{}, x.dtype());
  dispatch_floating(x.dtype(), "cross_entropy", [&]<class T>() {
    attrs.total_weight = kernels::cross_entropy<T>(
        x.shape()[0], x.shape()[1], values.data<T>(), targets.data<int64_t>(),
        pointer<T>(weight.tensor()), attrs.options, y.mutable_data<T>());
  });
  check(reduction != Reduction::mean || attrs.total_weight > 0,
        "cross_entropy: the mean over {} labels has a total weight of {}: {}", labels.numel(),
        attrs.total_weight,
        labels.numel() == 0 ? "the batch is empty"
                            : "every label is ignored or has weight 0; leave this batch out, or "
                              "use the sum");
  y = record(cross_entropy_op, std::move(y), {x}, {x, targets.tensor(), weight.tensor()}, attrs);
  return reduction == Reduction::none && labels.ndim() > 1 ? reshape(y, labels.shape()) : y;
}

}  // namespace gradus
