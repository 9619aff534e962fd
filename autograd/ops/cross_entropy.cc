#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/compare.h>
#include <gradus/autograd/ops/cross_entropy.h>
#include <gradus/autograd/ops/detail/optional.h>
#include <gradus/autograd/ops/reduce.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/autograd/ops/softmax.h>
#include <gradus/autograd/ops/where.h>
#include <gradus/kernels/softmax/softmax.h>

namespace gradus {

namespace {

struct CrossEntropyAttrs {
  kernels::CrossEntropyOptions options;
  bool each;       // not reduced: a dy for each row
  double divisor;  // of the sum of losses
};

/// The gradient with respect to x, rows of logits, of the loss (or losses) whose gradient is dy.
Tensor cross_entropy_backward(const Tensor& x, const Tensor& labels, const Tensor& weight,
                              const Tensor& dy, const CrossEntropyAttrs& attrs);

/// How much of softmax there is in each row's gradient: (rows, 1), 0 where the label is ignored.
Tensor softmax_share(const Tensor& labels, const Tensor& weight, int64_t classes, DType dtype,
                     const CrossEntropyAttrs& attrs) {
  Tensor share = empty({labels.numel(), 1}, dtype);
  dispatch_floating(dtype, "cross_entropy", [&]<class T>() {
    kernels::softmax_share<T>(labels.numel(), classes, labels.data<int64_t>(), pointer<T>(weight),
                              attrs.options, attrs.divisor, share.mutable_data<T>());
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
  check(!any(less(weight, 0)), "cross_entropy: a negative class weight, {}", weight);
}

/// What it is given with 0 in the rows whose labels are ignored.
class WithoutIgnored {
 public:
  WithoutIgnored(const Tensor& labels, int64_t ignore_index) {
    Tensor index = empty({}, DType::i64);
    *index.mutable_data<int64_t>() = ignore_index;
    ignored_ = reshape(equal(labels, index), {labels.numel(), 1});
    none_ = !any(ignored_);
  }
  Tensor operator()(const Tensor& rows) const {
    return none_ ? rows : masked_fill(rows, ignored_, 0);
  }

 private:
  Tensor ignored_;
  bool none_;
};

// dx = dy (a p - b) in each row, p = softmax(x), a and b constants; with g its gradient:
// d dy = the sum of g (a p - b), and d x = softmax's gradient for dy a g
Op cross_entropy_backward_op("cross_entropy_backward", [](Backward& ctx) {
  const auto& attrs = ctx.attrs<CrossEntropyAttrs>();
  const Tensor x = ctx.kept(0), labels = ctx.kept(1), weight = ctx.kept(2), dy = ctx.kept(3);
  const WithoutIgnored counted(labels, attrs.options.ignore_index);
  const Tensor g = counted(ctx.dy());
  if (ctx.needs(0)) {
    const Tensor share = softmax_share(labels, weight, x.shape()[1], x.dtype(), attrs);
    const Tensor scale = counted(share * (attrs.each ? unsqueeze(dy, 1) : dy));
    ctx.set(0, softmax_backward(softmax(counted(x)), g * scale));
  }
  if (ctx.needs(1)) {
    const Tensor unit = cross_entropy_backward(x, labels, weight, ones_like(dy), attrs);
    ctx.set(1, sum(g * unit, attrs.each ? Axes{1} : Axes{}));
  }
});

Tensor cross_entropy_backward(const Tensor& x, const Tensor& labels, const Tensor& weight,
                              const Tensor& dy, const CrossEntropyAttrs& attrs) {
  const raw::Contiguous values(x), gradient(dy);
  Tensor dx = empty_like(x);
  dispatch_floating(x.dtype(), "cross_entropy_backward", [&]<class T>() {
    kernels::cross_entropy_backward<T>(
        x.shape()[0], x.shape()[1], values.data<T>(), labels.data<int64_t>(), pointer<T>(weight),
        attrs.options, {gradient.data<T>(), attrs.each, attrs.divisor}, dx.mutable_data<T>());
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
  const bool each = options.reduction == Reduction::none,
             mean = options.reduction == Reduction::mean;
  CrossEntropyAttrs attrs{{options.label_smoothing, options.ignore_index}, each, 1};
  Tensor y = empty(each ? Shape{x.shape()[0]} : Shape{}, x.dtype());
  const kernels::CrossEntropyTotals totals =
      dispatch_floating(x.dtype(), "cross_entropy", [&]<class T>() {
        T* loss = y.mutable_data<T>();
        const auto sums = kernels::cross_entropy<T>(
            x.shape()[0], x.shape()[1], values.data<T>(), targets.data<int64_t>(),
            pointer<T>(weight.tensor()), attrs.options, each ? loss : nullptr);
        if (!each) *loss = static_cast<T>(sums.loss / (mean ? sums.weight : 1));
        return sums;
      });
  check(!mean || totals.weight > 0,
        "cross_entropy: the mean over {} labels has a total weight of {}: {}", labels.numel(),
        totals.weight,
        labels.numel() == 0 ? "the batch is empty"
                            : "every label is ignored or has weight 0; leave this batch out, or "
                              "use the sum");
  if (mean) attrs.divisor = totals.weight;
  y = record(cross_entropy_op, std::move(y), {x}, {x, targets.tensor(), weight.tensor()}, attrs);
  return each && labels.ndim() > 1 ? reshape(y, labels.shape()) : y;
}

}  // namespace gradus
