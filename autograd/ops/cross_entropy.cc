#include <gradus/autograd/ops/arithmetic.h>
#include <gradus/autograd/ops/compare.h>
#include <gradus/autograd/ops/cross_entropy.h>
#include <gradus/autograd/ops/detail/optional.h>
#include <gradus/autograd/ops/detail/reduced.h>
#include <gradus/autograd/ops/index.h>
#include <gradus/autograd/ops/shape.h>
#include <gradus/autograd/ops/softmax.h>
#include <gradus/autograd/ops/where.h>
#include <gradus/kernels/softmax/softmax.h>
#include <gradus/tensor/detail/indices.h>

#include <limits>

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

/// What a user may have meant whose labels do not fit.
const char* hint(const Shape& x, const Shape& labels) {
  if (x.ndim() > 2 && labels == x.erased(x.ndim() - 1))
    return "; where classes are the last axis, give transpose(logits)";
  return labels.ndim() > 1 && labels.ndim() == x.ndim() && labels.back() == 1
             ? "; squeeze(labels, -1)"
             : "";
}

void check_labels(const char* op, const Tensor& x, const Tensor& labels) {
  check(labels.dtype() == DType::i64, "{}: labels are {}, not i64{}", op, name(labels.dtype()),
        labels.shape() == x.shape() ? " or, as probabilities of the classes, like x" : "");
  check(x.ndim() >= 2 && x.shape()[1] > 0 && labels.shape() == x.shape().erased(1),
        "{}: logits {} and labels {}; needs (N, C, ...) and (N, ...){}", op, x.shape(),
        labels.shape(), hint(x.shape(), labels.shape()));
}

/// weight: of the classes of x, (N, C, ...); may be none.
void check_class_weight(const char* op, const Tensor& x, const Tensor& weight) {
  if (!weight) return;
  check_same_dtype(op, x, weight);
  check(weight.ndim() == 1 && weight.numel() == x.shape()[1] && !needs_grad(weight),
        "{}: a weight of shape {} for {} classes; it must be a constant of one element for each",
        op, weight.shape(), x.shape()[1]);
  check(!any(weight < 0), "{}: a class has a negative weight, of {}", op, weight);
}

void check_smoothing(double smoothing) {
  check(smoothing >= 0 && smoothing <= 1,
        "cross_entropy: the label smoothing {} does not lie in [0, 1]", smoothing);
}

/// A mean's divisor, the labels' total weight, is not 0.
void check_total(const char* op, const Tensor& labels, double total) {
  check(total > 0, "{}: the mean over {} labels has a total weight of {}: {}", op, labels.numel(),
        total,
        labels.numel() == 0 ? "the batch is empty"
                            : "every label is ignored or has weight 0; leave this batch out, or "
                              "use the sum");
}

/// A loss of one row without a batch's axis.
template <class Loss>
Tensor of_one_row(const Tensor& x, const Tensor& labels, Reduction reduction, Loss loss) {
  const Tensor y = loss(unsqueeze(x, 0), unsqueeze(labels, 0));
  return reduction == Reduction::none ? squeeze(y, 0) : y;
}

Tensor equals(const Tensor& labels, int64_t index) {
  Tensor number = empty({}, DType::i64);
  *number.mutable_data<int64_t>() = index;
  return equal(labels, number);
}

/// What it is given with 0 in the rows whose labels are ignored.
class WithoutIgnored {
 public:
  WithoutIgnored(const Tensor& labels, int64_t ignore_index)
      : ignored_(reshape(equals(labels, ignore_index), {labels.numel(), 1})),
        none_(!any(ignored_)) {}
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

/// w, one number a class, as it broadcasts to (N, C, ...).
Tensor along_classes(const Tensor& w, int ndim) {
  Shape shape{w.numel()};
  for (int i = 2; i < ndim; ++i) shape.push_back(1);
  return reshape(w, shape);
}

/// The labels are probabilities.
Tensor soft_cross_entropy(const Tensor& logits, const Tensor& target,
                          const CrossEntropyOptions& options) {
  const char* op = "cross_entropy";
  check_same_dtype(op, logits, target);
  check(logits.ndim() >= 2 && logits.shape()[1] > 0 && target.shape() == logits.shape(),
        "{}: logits {} and probabilities {}; needs (N, C, ...) for both", op, logits.shape(),
        target.shape());
  check(options.ignore_index < 0,
        "{}: of labels that are probabilities none can be ignored, ignore_index is {}", op,
        options.ignore_index);
  check(options.reduction != Reduction::mean || logits.numel() > 0,
        "{}: the mean of no rows, logits being {}", op, logits.shape());
  const double s = options.label_smoothing, classes = static_cast<double>(logits.shape()[1]);
  Tensor q = s > 0 ? affine(target, 1 - s, s / classes) : target;
  if (options.weight) q = q * along_classes(options.weight, logits.ndim());
  Tensor log_p = log_softmax(logits, 1);
  if (!all_finite(log_p)) {  // 0 log 0
    const double log_0 = -std::numeric_limits<double>::infinity();
    log_p = masked_fill(log_p, logical_and(equal(log_p, log_0), equal(q, 0)), 0);
  }
  return detail::reduced(-sum(q * log_p, {1}), options.reduction);
}

}  // namespace

Tensor cross_entropy(const Tensor& logits, const Tensor& labels,
                     const CrossEntropyOptions& options) {
  if (logits.ndim() == 1)
    return of_one_row(logits, labels, options.reduction, [&](const Tensor& x, const Tensor& t) {
      return cross_entropy(x, t, options);
    });
  check_smoothing(options.label_smoothing);
  const bool soft = is_floating(labels.dtype()) && labels.shape() == logits.shape();
  if (!soft) check_labels(cross_entropy_op.name, logits, labels);
  check_class_weight(cross_entropy_op.name, logits, options.weight);
  if (soft) return soft_cross_entropy(logits, labels, options);
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
  if (mean) check_total(cross_entropy_op.name, labels, totals.weight);
  if (mean) attrs.divisor = totals.weight;
  y = record(cross_entropy_op, std::move(y), {x}, {x, targets.tensor(), weight.tensor()}, attrs);
  return each && labels.ndim() > 1 ? reshape(y, labels.shape()) : y;
}

Tensor nll_loss(const Tensor& x, const Tensor& labels, const NllLossOptions& options) {
  if (x.ndim() == 1)
    return of_one_row(x, labels, options.reduction, [&](const Tensor& row, const Tensor& label) {
      return nll_loss(row, label, options);
    });
  const char* op = "nll_loss";
  check_labels(op, x, labels);
  check_class_weight(op, x, options.weight);
  const Tensor ignored = equals(labels, options.ignore_index);
  const bool some = any(ignored);
  const Tensor places =
      raw::checked_indices(op, some ? masked_fill(labels, ignored, 0) : labels, x.shape()[1]);
  Tensor losses = neg(squeeze(gather(x, 1, unsqueeze(places, 1)), 1));
  Tensor w = ones({}, x.dtype());
  if (options.weight) w = reshape(index_select(options.weight, 0, flatten(places)), places.shape());
  if (some) {
    losses = masked_fill(losses, ignored, 0);
    w = masked_fill(expand(w, losses.shape()), ignored, 0);
  }
  if (options.weight) losses = losses * w;
  if (options.reduction != Reduction::mean) return detail::reduced(losses, options.reduction);
  const double total = sum(expand(w, losses.shape())).item();
  check_total(op, labels, total);
  return sum(losses) / total;
}

}  // namespace gradus
