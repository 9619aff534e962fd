#include <cmath>

#include "tests/pytorch_samples/sample.h"

namespace gradus::samples {

namespace {

using Unary = Tensor (*)(const Tensor&);
using Binary = Tensor (*)(const Tensor&, const Tensor&);

Call unary(Unary f) {
  return [f](Sample& s) -> TensorList { return {f(s.tensor(0))}; };
}

/// A function of two tensors, or of a tensor and a number on either side.
template <class F>
Call binary(F f) {
  return [f](Sample& s) -> TensorList {
    if constexpr (requires(Tensor x) { f(1.0, x); })
      if (!s.is_tensor(0)) return {f(s.number(0, ""), s.tensor(1, "other"))};
    if (!s.is_tensor(1, "other")) return {f(s.tensor(0), s.number(1, "other"))};
    return {f(s.tensor(0), s.tensor(1, "other"))};
  };
}

/// The same with the operands exchanged.
template <class F>
Call reversed(F f) {
  return binary([f](const Tensor& a, const auto& b) { return f(b, a); });
}

Axes axes_of(Sample& s, size_t place, const char* name) {
  return Axes(Shape(s.integers(place, name)));
}

template <class F>
Call reduction(F f) {
  return [f](Sample& s) -> TensorList {
    Tensor x = s.tensor(0);
    if (const auto dtype = s.dtype_of(9, "dtype")) x = cast(x, *dtype);
    return {f(x, axes_of(s, 1, "dim"), s.flag(2, "keepdim", false))};
  };
}

/// With the variance's correction, which has three spellings.
template <class F>
Call spread(F f) {
  return [f](Sample& s) -> TensorList {
    const Tensor x = s.tensor(0);
    const Json* second = s.given(1, "dim");
    int64_t correction = s.integer(9, "correction", 1);
    Axes axes;
    if (second && second->is_boolean())
      correction = second->get<bool>() ? 1 : 0;
    else
      axes = axes_of(s, 1, "dim");
    if (const Json* unbiased = s.given(2, "unbiased");
        unbiased && unbiased->is_boolean() && !(second && second->is_boolean()))
      correction = unbiased->get<bool>() ? 1 : 0;
    return {f(x, axes, s.flag(3, "keepdim", false), correction)};
  };
}

template <class F>
Call along(F f) {
  return [f](Sample& s) -> TensorList {
    Tensor x = s.tensor(0);
    const int64_t axis = s.integer(1, "dim");
    s.ignore(9, "_stacklevel");
    if (const auto dtype = s.dtype_of(2, "dtype"); dtype && *dtype != x.dtype())
      x = cast(x, *dtype);
    return {f(x, axis)};
  };
}

Call to_dtype(DType dtype) {
  return [dtype](Sample& s) -> TensorList {
    s.ignore(9, "memory_format");
    return {cast(s.tensor(0), dtype)};
  };
}

Tensor truth(bool value) { return raw::cast(full({}, value), DType::boolean); }

Reduction reduction_of(Sample& s) {
  s.ignore(90, "size_average");
  s.ignore(91, "reduce");
  const std::string name = s.text(92, "reduction", "mean");
  if (name == "none") return Reduction::none;
  if (name == "sum") return Reduction::sum;
  if (name == "mean") return Reduction::mean;
  throw Refused("there is no reduction " + name);
}

/// A loss of two tensors.
template <class F>
Call loss(F f) {
  return [f](Sample& s) -> TensorList {
    const Tensor x = s.tensor(0, "input"), target = s.tensor(1, "target");
    return {f(s, x, target, reduction_of(s))};
  };
}

Tensor broadcast_like(const Tensor& x, const Tensor& other) {
  return x.shape() == other.shape() ? x : x + zeros_like(other);
}

TensorList batch_norm_of(Sample& s) {
  const Tensor x = s.tensor(0, "input"), mean = s.tensor(1, "running_mean"),
               var = s.tensor(2, "running_var");
  const Tensor weight = s.tensor(3, "weight"), bias = s.tensor(4, "bias");
  const bool training = s.flag(5, "training", false);
  s.ignore(6, "momentum");
  const BatchNormOptions options{.eps = s.number(7, "eps", 1e-5)};
  if (training) return {batch_norm(x, weight, bias, options).y};
  return {batch_norm_inference(x, mean, var, weight, bias, options)};
}

TensorList layer_norm_of(Sample& s) {
  return {layer_norm(s.tensor(0), s.shape(1, "normalized_shape"), s.tensor(2, "weight"),
                     s.tensor(3, "bias"), {.eps = s.number(4, "eps", 1e-5)})};
}

Pool2dOptions pool_options(Sample& s, bool average) {
  Pool2dOptions o;
  if (s.has(2, "stride") && !s.integers(2, "stride").empty()) o.stride = s.pair(2, "stride", 1);
  o.padding = s.pair(3, "padding", 0);
  if (average) {
    o.ceil_mode = s.flag(4, "ceil_mode", false);
    o.count_include_pad = s.flag(5, "count_include_pad", true);
  } else {
    o.dilation = s.pair(4, "dilation", 1);
    o.ceil_mode = s.flag(5, "ceil_mode", false);
  }
  return o;
}

TensorList max_pool2d_of(Sample& s) {
  const Tensor x = s.tensor(0);
  const Pair kernel = s.pair(1, "kernel_size", 1);
  const Pool2dOptions options = pool_options(s, false);
  if (!s.flag(6, "return_indices", false)) return {max_pool2d(x, kernel, options)};
  const auto [y, indices] = max_pool2d_with_indices(x, kernel, options);
  return {y, indices};
}

Conv2dOptions conv_options(Sample& s, size_t first) {
  const Json* const padding = s.given(first + 1, "padding");
  Padding zeros_around = 0;
  if (!padding || !padding->is_string())
    zeros_around = s.pair(first + 1, "padding", 0);
  else if (padding->get<std::string>() == "same")
    zeros_around = Padding::same();  // the other word is "valid"
  return {.stride = s.pair(first, "stride", 1),
          .padding = zeros_around,
          .dilation = s.pair(first + 2, "dilation", 1),
          .groups = s.integer(first + 3, "groups", 1)};
}

TensorList cross_entropy_of(Sample& s) {
  Tensor x = s.tensor(0, "input"), target = s.tensor(1, "target");
  CrossEntropyOptions o;
  o.weight = s.tensor(2, "weight");
  o.ignore_index = s.integer(93, "ignore_index", -100);
  o.label_smoothing = s.number(94, "label_smoothing", 0);
  o.reduction = reduction_of(s);
  return {cross_entropy(x, target, o)};
}

TensorList attention_of(Sample& s) {
  const Tensor q = s.tensor(0), k = s.tensor(1), v = s.tensor(2);
  AttentionOptions o;
  o.mask = s.tensor(3, "attn_mask");
  o.dropout = s.number(4, "dropout_p", 0);
  if (o.dropout > 0) throw Refused("draws of its own");
  o.causal = s.flag(5, "is_causal", false);
  if (s.has(6, "scale")) o.scale = s.number(6, "scale");
  s.ignore(7, "enable_gqa");
  return {scaled_dot_product_attention(q, k, v, o)};
}

void add_elementwise(std::map<std::string, Call>& calls) {
  for (const auto& [name, f] :
       std::initializer_list<std::pair<const char*, Unary>>{{"abs", abs},
                                                            {"cos", cos},
                                                            {"erf", erf},
                                                            {"exp", exp},
                                                            {"log", log},
                                                            {"neg", neg},
                                                            {"reciprocal", reciprocal},
                                                            {"rsqrt", rsqrt},
                                                            {"sigmoid", sigmoid},
                                                            {"sign", sign},
                                                            {"sin", sin},
                                                            {"sqrt", sqrt},
                                                            {"square", square},
                                                            {"tanh", tanh},
                                                            {"log1p", log1p},
                                                            {"expm1", expm1}})
    calls[name] = unary(f);
  for (const auto& [name, f] : std::initializer_list<std::pair<const char*, Unary>>{
           {"nn.functional.relu", relu}, {"nn.functional.silu", silu}})
    calls[name] = [f](Sample& s) -> TensorList {
      s.ignore(1, "inplace");
      return {f(s.tensor(0))};
    };
  // Of integers these change nothing.
  for (const auto& [name, f] : std::initializer_list<std::pair<const char*, Unary>>{
           {"floor", floor}, {"ceil", ceil}, {"round", round}})
    calls[name] = [f](Sample& s) -> TensorList {
      if (s.integer(1, "decimals", 0) != 0) throw Refused("decimals: round(x * 10) / 10");
      const Tensor x = s.tensor(0);
      return {is_floating(x.dtype()) ? f(x) : x};
    };
  calls["nn.functional.relu6"] = [](Sample& s) -> TensorList { return {clamp(s.tensor(0), 0, 6)}; };
  calls["nn.functional.hardtanh"] = [](Sample& s) -> TensorList {
    s.ignore(3, "inplace");
    return {clamp(s.tensor(0), s.number(1, "min_val", -1), s.number(2, "max_val", 1))};
  };
  calls["nn.functional.gelu"] = [](Sample& s) -> TensorList {
    return {gelu(s.tensor(0),
                 s.text(1, "approximate", "none") == "tanh" ? GeluForm::tanh : GeluForm::exact)};
  };
  calls["nn.functional.softplus"] = [](Sample& s) -> TensorList {
    const double beta = s.number(1, "beta", 1), threshold = s.number(2, "threshold", 20);
    const Tensor x = s.tensor(0), y = softplus(beta * x) / beta;
    return {threshold < 15 ? where(greater(beta * x, threshold), x, y) : y};
  };
  calls["add"] = [](Sample& s) -> TensorList {
    const double alpha = s.number(9, "alpha", 1);
    const Tensor a = s.tensor(0);
    if (!s.is_tensor(1, "other")) return {a + alpha * s.number(1, "other")};
    const Tensor b = s.tensor(1, "other");
    return {a + (alpha == 1 ? b : alpha * b)};
  };
  calls["sub"] = [](Sample& s) -> TensorList {
    const double alpha = s.number(9, "alpha", 1);
    const Tensor a = s.tensor(0);
    if (!s.is_tensor(1, "other")) return {a - alpha * s.number(1, "other")};
    const Tensor b = s.tensor(1, "other");
    return {a - (alpha == 1 ? b : alpha * b)};
  };
  calls["rsub"] = [](Sample& s) -> TensorList {
    const double alpha = s.number(9, "alpha", 1);
    const Tensor scaled = alpha == 1 ? s.tensor(0) : alpha * s.tensor(0);
    if (!s.is_tensor(1, "other")) return {s.number(1, "other") - scaled};
    return {s.tensor(1, "other") - scaled};
  };
  const auto plus = [](const auto& a, const auto& b) { return a + b; };
  const auto minus = [](const auto& a, const auto& b) { return a - b; };
  const auto times = [](const auto& a, const auto& b) { return a * b; };
  const auto over = [](const auto& a, const auto& b) { return a / b; };
  const auto power = [](const auto& a, const auto& b) { return pow(a, b); };
  calls["mul"] = binary(times);
  calls["true_divide"] = calls["div.no_rounding_mode"] = [over](Sample& s) -> TensorList {
    s.ignore(9, "rounding_mode");
    return binary(over)(s);
  };
  calls["pow"] = binary(power);
  calls["__radd__"] = reversed(plus);
  calls["__rsub__"] = reversed(minus);
  calls["__rmul__"] = reversed(times);
  calls["__rdiv__"] = reversed(over);
  calls["maximum"] = calls["max.binary"] =
      binary([](const Tensor& a, const auto& b) { return maximum(a, b); });
  calls["minimum"] = calls["min.binary"] =
      binary([](const Tensor& a, const auto& b) { return minimum(a, b); });
  calls["__rpow__"] = reversed([](const auto& a, const Tensor& b) { return pow(a, b); });
  calls["clamp_min"] = [](Sample& s) -> TensorList {
    if (!s.is_tensor(1, "min")) return {clamp(s.tensor(0), s.number(1, "min"), INFINITY)};
    return {clamp(s.tensor(0), s.tensor(1, "min"), Tensor())};
  };
  calls["clamp_max"] = [](Sample& s) -> TensorList {
    if (!s.is_tensor(1, "max")) return {clamp(s.tensor(0), -INFINITY, s.number(1, "max"))};
    return {clamp(s.tensor(0), Tensor(), s.tensor(1, "max"))};
  };
  calls["clamp"] = [](Sample& s) -> TensorList {
    if (s.is_tensor(1, "min") || s.is_tensor(2, "max"))
      return {clamp(s.tensor(0), s.tensor(1, "min"), s.tensor(2, "max"))};
    return {clamp(s.tensor(0), s.number(1, "min", -INFINITY), s.number(2, "max", INFINITY))};
  };
  calls["nn.functional.leaky_relu"] = [](Sample& s) -> TensorList {
    s.ignore(2, "inplace");
    return {leaky_relu(s.tensor(0), s.number(1, "negative_slope", 0.01))};
  };
  calls["nn.functional.elu"] = [](Sample& s) -> TensorList {
    s.ignore(2, "inplace");
    return {elu(s.tensor(0), s.number(1, "alpha", 1))};
  };
  calls["clone"] = [](Sample& s) -> TensorList {
    s.ignore(1, "memory_format");
    return {clone(s.tensor(0))};
  };
  calls["contiguous"] = [](Sample& s) -> TensorList {
    s.ignore(1, "memory_format");
    return {contiguous(s.tensor(0))};
  };
  calls["eq"] = binary([](const Tensor& a, const auto& b) { return equal(a, b); });
  calls["ne"] = binary([](const Tensor& a, const auto& b) { return not_equal(a, b); });
  calls["lt"] = binary([](const Tensor& a, const auto& b) { return less(a, b); });
  calls["le"] = binary([](const Tensor& a, const auto& b) { return less_equal(a, b); });
  calls["gt"] = binary([](const Tensor& a, const auto& b) { return greater(a, b); });
  calls["ge"] = binary([](const Tensor& a, const auto& b) { return greater_equal(a, b); });
  const auto as_bool = [](const Tensor& x) {
    return x.dtype() == DType::boolean ? x : cast(x, DType::boolean);
  };
  calls["logical_and"] = [as_bool](Sample& s) -> TensorList {
    return {logical_and(as_bool(s.tensor(0)), as_bool(s.tensor(1, "other")))};
  };
  calls["logical_or"] = [as_bool](Sample& s) -> TensorList {
    return {logical_or(as_bool(s.tensor(0)), as_bool(s.tensor(1, "other")))};
  };
  calls["logical_not"] = [as_bool](Sample& s) -> TensorList {
    return {logical_not(as_bool(s.tensor(0)))};
  };
  calls["isfinite"] = [](Sample& s) -> TensorList {
    const Tensor x = s.tensor(0);
    return {is_floating(x.dtype()) ? less(abs(x), INFINITY) : ones(x.shape(), DType::boolean)};
  };
  calls["fill"] = [](Sample& s) -> TensorList {
    const Tensor x = s.tensor(0);
    return {full(x.shape(), s.number(1, "value"), x.dtype())};
  };
  calls["equal"] = [](Sample& s) -> TensorList {
    const Tensor a = s.tensor(0), b = s.tensor(1);
    return {truth(a.shape() == b.shape() && all(equal(a, b)))};
  };
  calls["bool"] = to_dtype(DType::boolean);
  calls["double"] = to_dtype(DType::f64);
  calls["float"] = to_dtype(DType::f32);
  calls["long"] = to_dtype(DType::i64);
  calls["where"] = [](Sample& s) -> TensorList {
    // Its samples call x.where(condition, other).
    const Tensor x = s.tensor(0), condition = s.tensor(1, "condition");
    if (!s.is_tensor(2, "other")) return {where(condition, x, s.number(2, "other"))};
    return {where(condition, x, s.tensor(2, "other"))};
  };
  calls["masked_fill"] = [](Sample& s) -> TensorList {
    if (s.is_tensor(2, "value"))
      return {where(s.tensor(1, "mask"), s.tensor(2, "value"), s.tensor(0))};
    return {masked_fill(s.tensor(0), s.tensor(1, "mask"), s.number(2, "value"))};
  };
}

void add_reductions(std::map<std::string, Call>& calls) {
  calls["sum"] =
      reduction([](const Tensor& x, const Axes& axes, bool keep) { return sum(x, axes, keep); });
  calls["mean"] =
      reduction([](const Tensor& x, const Axes& axes, bool keep) { return mean(x, axes, keep); });
  calls["amax"] =
      reduction([](const Tensor& x, const Axes& axes, bool keep) { return (max)(x, axes, keep); });
  calls["amin"] =
      reduction([](const Tensor& x, const Axes& axes, bool keep) { return (min)(x, axes, keep); });
  calls["max.reduction_no_dim"] = [](Sample& s) -> TensorList { return {(max)(s.tensor(0))}; };
  calls["min.reduction_no_dim"] = [](Sample& s) -> TensorList { return {(min)(s.tensor(0))}; };
  calls["argmax"] = [](Sample& s) -> TensorList {
    if (!s.has(1, "dim")) return {argmax(s.tensor(0), Axes{}, s.flag(2, "keepdim", false))};
    return {argmax(s.tensor(0), s.integer(1, "dim"), s.flag(2, "keepdim", false))};
  };
  calls["argmin"] = [](Sample& s) -> TensorList {
    if (!s.has(1, "dim")) return {argmin(s.tensor(0), Axes{}, s.flag(2, "keepdim", false))};
    return {argmin(s.tensor(0), s.integer(1, "dim"), s.flag(2, "keepdim", false))};
  };
  calls["max.reduction_with_dim"] = [](Sample& s) -> TensorList {
    const auto [values, indices] =
        max_with_indices(s.tensor(0), s.integer(1, "dim"), s.flag(2, "keepdim", false));
    return {values, indices};
  };
  calls["min.reduction_with_dim"] = [](Sample& s) -> TensorList {
    const auto [values, indices] =
        min_with_indices(s.tensor(0), s.integer(1, "dim"), s.flag(2, "keepdim", false));
    return {values, indices};
  };
  calls["prod"] =
      reduction([](const Tensor& x, const Axes& axes, bool keep) { return prod(x, axes, keep); });
  calls["logsumexp"] = reduction(
      [](const Tensor& x, const Axes& axes, bool keep) { return logsumexp(x, axes, keep); });
  calls["any"] = reduction([](const Tensor& x, const Axes& axes, bool keep) {
    return any(cast(x, DType::boolean), axes, keep);
  });
  calls["all"] = reduction([](const Tensor& x, const Axes& axes, bool keep) {
    return all(cast(x, DType::boolean), axes, keep);
  });
  calls["cumsum"] = along([](const Tensor& x, int64_t axis) { return cumsum(x, axis); });
  calls["norm"] = calls["norm.inf"] = [](Sample& s) -> TensorList {
    if (s.given(1, "p") && s.given(1, "p")->is_string()) throw Refused("norms of matrices by name");
    return {
        norm(s.tensor(0), s.number(1, "p", 2), axes_of(s, 2, "dim"), s.flag(3, "keepdim", false))};
  };
  calls["sort"] = [](Sample& s) -> TensorList {
    s.ignore(9, "stable");
    const bool named = s.given(1, "dim") && !s.given(1, "dim")->is_boolean();
    const auto [values, indices] =
        sort(s.tensor(0), named ? s.integer(1, "dim", -1) : -1, s.flag(2, "descending", false));
    return {values, indices};
  };
  calls["argsort"] = [](Sample& s) -> TensorList {
    s.ignore(9, "stable");
    return {argsort(s.tensor(0), s.integer(1, "dim", -1), s.flag(2, "descending", false))};
  };
  calls["topk"] = [](Sample& s) -> TensorList {
    s.ignore(4, "sorted");
    const auto [values, indices] =
        topk(s.tensor(0), s.integer(1, "k"), s.integer(2, "dim", -1), s.flag(3, "largest", true));
    return {values, indices};
  };
  calls["std"] = calls["std.unbiased"] = spread([](const Tensor& x, const Axes& axes, bool keep,
                                                   int64_t c) { return stddev(x, axes, keep, c); });
  calls["var"] = calls["var.unbiased"] = spread([](const Tensor& x, const Axes& axes, bool keep,
                                                   int64_t c) { return var(x, axes, keep, c); });
  calls["softmax"] = calls["softmax.with_dtype"] =
      along([](const Tensor& x, int64_t axis) { return softmax(x, axis); });
  calls["log_softmax"] = calls["log_softmax.with_dtype"] =
      along([](const Tensor& x, int64_t axis) { return log_softmax(x, axis); });
  calls["nn.functional.softmin"] = calls["nn.functional.softmin.with_dtype"] =
      along([](const Tensor& x, int64_t axis) { return softmax(-x, axis); });
  calls["sum_to_size"] = [](Sample& s) -> TensorList {
    return {sum_to(s.tensor(0), s.shape(1, "size"))};
  };
}

void add_shapes(std::map<std::string, Call>& calls) {
  const auto shaped = [](Sample& s) -> TensorList {
    return {reshape(s.tensor(0), s.shape(1, "shape"))};
  };
  calls["view"] = calls["reshape"] = shaped;
  calls["view_as"] = calls["reshape_as"] = [](Sample& s) -> TensorList {
    return {reshape(s.tensor(0), s.tensor(1, "other").shape())};
  };
  calls["ravel"] = [](Sample& s) -> TensorList { return {reshape(s.tensor(0), {-1})}; };
  calls["flatten"] = [](Sample& s) -> TensorList {
    return {flatten(s.tensor(0), s.integer(1, "start_dim", 0), s.integer(2, "end_dim", -1))};
  };
  calls["unflatten"] = [](Sample& s) -> TensorList {
    const Tensor x = s.tensor(0);
    int64_t axis = s.integer(1, "dim");
    if (axis < 0) axis += x.ndim();
    Shape shape;
    for (int i = 0; i < x.ndim(); ++i)
      if (i == axis)
        for (const int64_t n : s.integers(2, "sizes")) shape.push_back(n);
      else
        shape.push_back(x.size(i));
    return {reshape(x, shape)};
  };
  calls["transpose"] = [](Sample& s) -> TensorList {
    return {transpose(s.tensor(0), s.integer(1, "dim0"), s.integer(2, "dim1"))};
  };
  calls["mT"] = unary([](const Tensor& x) { return transpose(x); });
  calls["t"] = calls["T"] = unary([](const Tensor& x) { return x.ndim() < 2 ? x : transpose(x); });
  calls["permute"] = [](Sample& s) -> TensorList {
    return {permute(s.tensor(0), Axes(s.shape(1, "dims")))};
  };
  calls["unsqueeze"] = [](Sample& s) -> TensorList {
    return {unsqueeze(s.tensor(0), s.integer(1, "dim"))};
  };
  calls["broadcast_to"] = calls["expand"] = [](Sample& s) -> TensorList {
    return {expand(s.tensor(0), s.shape(1, "size"))};
  };
  calls["expand_as"] = [](Sample& s) -> TensorList {
    return {expand(s.tensor(0), s.tensor(1, "other").shape())};
  };
  calls["narrow"] = [](Sample& s) -> TensorList {
    const Tensor x = s.tensor(0);
    const int64_t axis = s.integer(1, "dim");
    int64_t begin = s.is_tensor(2, "start")
                        ? static_cast<int64_t>(raw::cast(s.tensor(2, "start"), DType::f64).at({}))
                        : s.integer(2, "start");
    if (begin < 0)
      begin += x.size(axis < 0 ? static_cast<int>(axis) + x.ndim() : static_cast<int>(axis));
    return {slice(x, axis, begin, begin + s.integer(3, "length"))};
  };
  calls["select"] = [](Sample& s) -> TensorList {
    return {select(s.tensor(0), s.integer(1, "dim"), s.integer(2, "index"))};
  };
  calls["slice"] = [](Sample& s) -> TensorList {
    const Tensor x = s.tensor(0);
    const int64_t axis = s.integer(1, "dim", 0), size = x.size(static_cast<int>(axis));
    const auto clipped = [&](int64_t i) {
      return std::clamp<int64_t>(i < 0 ? i + size : i, 0, size);
    };
    const int64_t begin = clipped(s.integer(2, "start", 0)),
                  end = clipped(s.integer(3, "end", size));
    return {slice(x, axis, begin, std::max(begin, end), s.integer(4, "step", 1))};
  };
  calls["squeeze"] = [](Sample& s) -> TensorList {
    if (!s.has(1, "dim")) return {squeeze(s.tensor(0))};
    return {squeeze(s.tensor(0), axes_of(s, 1, "dim"))};
  };
  const auto parts = [](Sample& s) -> TensorList {
    const Tensor x = s.tensor(0);
    const Json* sizes = s.given(1, "split_size");
    if (sizes && sizes->is_array())
      return split(x, s.integers(1, "split_size"), s.integer(2, "dim", 0));
    return split(x, s.integer(1, "split_size"), s.integer(2, "dim", 0));
  };
  calls["split"] = calls["split.list_args"] = calls["split_with_sizes"] = parts;
  calls["chunk"] = [](Sample& s) -> TensorList {
    return chunk(s.tensor(0), s.integer(1, "chunks"), s.integer(2, "dim", 0));
  };
  calls["flip"] = [](Sample& s) -> TensorList {
    const Shape axes = s.shape(1, "dims");
    if (axes.ndim() == 0) return {s.tensor(0)};  // none, and not all
    return {flip(s.tensor(0), Axes(axes))};
  };
  calls["roll"] = [](Sample& s) -> TensorList {
    Tensor x = s.tensor(0);
    const auto shifts = s.integers(1, "shifts"), axes = s.integers(2, "dims");
    if (axes.empty()) return {reshape(roll(flatten(x), shifts[0], 0), x.shape())};
    for (size_t i = 0; i < axes.size(); ++i) x = roll(x, shifts[i], axes[i]);
    return {x};
  };
  calls["tile"] = calls["repeat"] = [](Sample& s) -> TensorList {
    return {tile(s.tensor(0), s.shape(1, "dims"))};
  };
  calls["tril"] = [](Sample& s) -> TensorList {
    return {tril(s.tensor(0), s.integer(1, "diagonal", 0))};
  };
  calls["triu"] = [](Sample& s) -> TensorList {
    return {triu(s.tensor(0), s.integer(1, "diagonal", 0))};
  };
  for (const auto& [name, mode] : {std::pair{"constant", PadMode::constant},
                                   {"reflect", PadMode::reflect},
                                   {"replicate", PadMode::replicate}})
    calls[std::string("nn.functional.pad.") + name] = [mode = mode](Sample& s) -> TensorList {
      s.ignore(2, "mode");
      return {pad(s.tensor(0), Shape(s.integers(1, "pad")), mode, s.number(3, "value", 0))};
    };
  calls["arange"] = [](Sample& s) -> TensorList {
    const std::optional<DType> asked = s.dtype_of(9, "dtype");
    std::vector<double> numbers;
    for (size_t i = 0; i < s.count(); ++i)
      if (s.has(i, "end")) numbers.push_back(s.number(i, "end"));
    if (s.has(90, "end")) numbers.push_back(s.number(90, "end"));
    const double begin = numbers.size() > 1 ? numbers[0] : s.number(91, "start", 0);
    const double end = numbers.size() > 1 ? numbers[1] : numbers.at(0);
    s.ignore(9, "device");
    return {arange(begin, end, numbers.size() > 2 ? numbers[2] : s.number(92, "step", 1),
                   asked.value_or(s.dtype()))};
  };
  calls["linspace"] = [](Sample& s) -> TensorList {
    s.ignore(9, "device");
    const DType dtype = s.dtype_of(9, "dtype").value_or(DType::f32);
    const DType computed = is_floating(dtype) ? dtype : DType::f64;
    return {
        cast(linspace(s.number(0, "start"), s.number(1, "end"), s.integer(2, "steps"), computed),
             dtype)};
  };
  calls["cat"] = [](Sample& s) -> TensorList {
    return {concat(s.tensors(0, "tensors"), s.integer(1, "dim", 0))};
  };
  calls["stack"] = [](Sample& s) -> TensorList {
    return {stack(s.tensors(0, "tensors"), s.integer(1, "dim", 0))};
  };
  calls["unbind"] = [](Sample& s) -> TensorList {
    return unbind(s.tensor(0), s.integer(1, "dim", 0));
  };
  calls["to"] = [](Sample& s) -> TensorList {
    const Tensor x = s.tensor(0);
    for (const char* name : {"device", "non_blocking", "copy", "memory_format"}) s.ignore(99, name);
    for (size_t i = 1; i < s.count(); ++i) s.ignore(i, "to");
    for (size_t i = 1; i < s.count(); ++i) {
      const Json* value = s.given(i, "to");
      if (value && value->is_object() && value->contains("dtype"))
        return {cast(x, *s.dtype_of(i, "dtype"))};
      if (s.is_tensor(i, "other")) return {cast(x, s.tensor(i, "other").dtype())};
    }
    if (const auto dtype = s.dtype_of(99, "dtype")) return {cast(x, *dtype)};
    return {x};
  };
}

void add_indices(std::map<std::string, Call>& calls) {
  calls["gather"] = [](Sample& s) -> TensorList {
    s.ignore(9, "sparse_grad");
    return {gather(s.tensor(0), s.integer(1, "dim"), s.tensor(2, "index"))};
  };
  calls["take_along_dim"] = [](Sample& s) -> TensorList {
    const Tensor x = s.tensor(0), index = s.tensor(1, "indices");
    if (!s.has(2, "dim")) return {gather(reshape(x, {-1}), 0, reshape(index, {-1}))};
    return {gather(x, s.integer(2, "dim"), index)};
  };
  calls["scatter_add"] = [](Sample& s) -> TensorList {
    return {
        scatter_add(s.tensor(0), s.integer(1, "dim"), s.tensor(2, "index"), s.tensor(3, "src"))};
  };
  calls["index_select"] = [](Sample& s) -> TensorList {
    return {index_select(s.tensor(0), s.integer(1, "dim"), s.tensor(2, "index"))};
  };
  calls["index_add"] = [](Sample& s) -> TensorList {
    const double alpha = s.number(9, "alpha", 1);
    const Tensor source = s.tensor(3, "source");
    return {index_add(s.tensor(0), s.integer(1, "dim"), s.tensor(2, "index"),
                      alpha == 1 ? source : alpha * source)};
  };
  calls["masked_select"] = [](Sample& s) -> TensorList {
    return {masked_select(s.tensor(0), s.tensor(1, "mask"))};
  };
  calls["nn.functional.embedding"] = [](Sample& s) -> TensorList {
    s.ignore(2, "padding_idx");
    s.ignore(5, "scale_grad_by_freq");
    s.ignore(6, "sparse");
    return {embedding(s.tensor(1, "weight"), s.tensor(0))};
  };
  calls["nn.functional.one_hot"] = [](Sample& s) -> TensorList {
    const Tensor x = s.tensor(0);
    int64_t classes = s.integer(1, "num_classes", -1);
    if (classes < 0) {
      classes = 0;
      for (const int64_t label : raw::contiguous(x).to_vector<int64_t>())
        classes = std::max(classes, label + 1);
    }
    return {cast(one_hot(x, classes), DType::i64)};
  };
}

void add_products(std::map<std::string, Call>& calls) {
  const auto product = [](Sample& s) -> TensorList {
    return {matmul(s.tensor(0), s.tensor(1, "other"))};
  };
  for (const char* name : {"matmul", "bmm", "mm", "mv"}) calls[name] = product;
  calls["dot"] = [](Sample& s) -> TensorList { return {dot(s.tensor(0), s.tensor(1))}; };
  calls["outer"] = [](Sample& s) -> TensorList { return {outer(s.tensor(0), s.tensor(1))}; };
  calls["einsum"] = [](Sample& s) -> TensorList {
    return {einsum(s.text(1, "equation", ""), s.tensors(0, "operands"))};
  };
  calls["nn.functional.conv1d"] = [](Sample& s) -> TensorList {
    const Conv2dOptions o = conv_options(s, 3);
    return {conv1d(s.tensor(0), s.tensor(1), s.tensor(2, "bias"),
                   {.stride = o.stride.w,
                    .padding = o.padding.keeps_size ? o.padding : Padding(o.padding.w),
                    .dilation = o.dilation.w,
                    .groups = o.groups})};
  };
  calls["nn.functional.conv_transpose2d"] = [](Sample& s) -> TensorList {
    return {conv_transpose2d(s.tensor(0), s.tensor(1), s.tensor(2, "bias"),
                             {.stride = s.pair(3, "stride", 1),
                              .padding = s.pair(4, "padding", 0),
                              .output_padding = s.pair(5, "output_padding", 0),
                              .dilation = s.pair(7, "dilation", 1),
                              .groups = s.integer(6, "groups", 1)})};
  };
  calls["nn.functional.conv_transpose1d"] = [](Sample& s) -> TensorList {
    return {conv_transpose1d(s.tensor(0), s.tensor(1), s.tensor(2, "bias"),
                             {.stride = s.pair(3, "stride", 1).w,
                              .padding = s.pair(4, "padding", 0).w,
                              .output_padding = s.pair(5, "output_padding", 0).w,
                              .dilation = s.pair(7, "dilation", 1).w,
                              .groups = s.integer(6, "groups", 1)})};
  };
  calls["nn.functional.max_pool1d"] = [](Sample& s) -> TensorList {
    const Pool2dOptions o = pool_options(s, false);
    const Tensor x = s.tensor(0);
    const int64_t kernel = s.pair(1, "kernel_size", 1).w;
    if (s.flag(6, "return_indices", false)) {
      const auto [y, indices] =
          max_pool2d_with_indices(unsqueeze(x, -2), {1, kernel},
                                  {.stride = Pair(1, o.stride ? o.stride->w : kernel),
                                   .padding = {0, o.padding.w},
                                   .dilation = {1, o.dilation.w},
                                   .ceil_mode = o.ceil_mode});
      return {squeeze(y, -2), squeeze(indices, -2)};
    }
    Pool1dOptions one{.padding = o.padding.w, .dilation = o.dilation.w, .ceil_mode = o.ceil_mode};
    if (o.stride) one.stride = o.stride->w;
    return {max_pool1d(x, kernel, one)};
  };
  calls["nn.functional.avg_pool1d"] = [](Sample& s) -> TensorList {
    const Pool2dOptions o = pool_options(s, true);
    Pool1dOptions one{
        .padding = o.padding.w, .ceil_mode = o.ceil_mode, .count_include_pad = o.count_include_pad};
    if (o.stride) one.stride = o.stride->w;
    return {avg_pool1d(s.tensor(0), s.pair(1, "kernel_size", 1).w, one)};
  };
  calls["nn.functional.adaptive_avg_pool1d"] = [](Sample& s) -> TensorList {
    return {adaptive_avg_pool1d(s.tensor(0), s.pair(1, "output_size", 1).w)};
  };
  calls["__rmatmul__"] = [](Sample& s) -> TensorList {
    return {matmul(s.tensor(1, "other"), s.tensor(0))};
  };
  calls["nn.functional.linear"] = [](Sample& s) -> TensorList {
    return {linear(s.tensor(0), s.tensor(1, "weight"), s.tensor(2, "bias"))};
  };
  calls["nn.functional.conv2d"] = [](Sample& s) -> TensorList {
    return {conv2d(s.tensor(0), s.tensor(1), s.tensor(2, "bias"), conv_options(s, 3))};
  };
  calls["nn.functional.max_pool2d"] = max_pool2d_of;
  calls["nn.functional.avg_pool2d"] = [](Sample& s) -> TensorList {
    const Pair kernel = s.pair(1, "kernel_size", 1);
    Pool2dOptions options = pool_options(s, true);
    if (!s.has(6, "divisor_override")) return {avg_pool2d(s.tensor(0), kernel, options)};
    if (options.ceil_mode) throw Refused("a divisor of one's own, of windows that are cut off");
    options.count_include_pad = true;
    return {avg_pool2d(s.tensor(0), kernel, options) * static_cast<double>(kernel.h * kernel.w) /
            s.number(6, "divisor_override")};
  };
  calls["nn.functional.adaptive_avg_pool2d"] = [](Sample& s) -> TensorList {
    const Tensor x = s.tensor(0);
    std::vector<int64_t> size;  // none: as it is
    const Json* const given = s.given(1, "output_size");
    if (given && given->is_array())
      for (size_t i = 0; i < 2; ++i)
        size.push_back((*given)[i].is_null() ? x.size(static_cast<int>(i) - 2)
                                             : (*given)[i].get<int64_t>());
    else
      size = {s.integer(1, "output_size"), s.integer(1, "output_size")};
    return {adaptive_avg_pool2d(x, {size[0], size[1]})};
  };
  calls["nn.functional.scaled_dot_product_attention"] = attention_of;
}

void add_norms_and_losses(std::map<std::string, Call>& calls) {
  calls["nn.functional.batch_norm"] = calls["nn.functional.batch_norm.without_cudnn"] =
      batch_norm_of;
  calls["nn.functional.layer_norm"] = layer_norm_of;
  calls["nn.functional.group_norm"] = [](Sample& s) -> TensorList {
    return {group_norm(s.tensor(0), s.integer(1, "num_groups"), s.tensor(2, "weight"),
                       s.tensor(3, "bias"), {.eps = s.number(4, "eps", 1e-5)})};
  };
  calls["nn.functional.rms_norm"] = [](Sample& s) -> TensorList {
    RmsNormOptions o;
    if (s.has(3, "eps")) o.eps = s.number(3, "eps");
    return {rms_norm(s.tensor(0), s.shape(1, "normalized_shape"), s.tensor(2, "weight"), o)};
  };
  calls["nn.functional.cross_entropy"] = cross_entropy_of;
  calls["nn.functional.mse_loss"] =
      loss([](Sample& s, const Tensor& x, const Tensor& t, Reduction r) {
        s.ignore(95, "weight");
        return mse_loss(broadcast_like(x, t), broadcast_like(t, x), r);
      });
  calls["nn.functional.huber_loss"] =
      loss([](Sample& s, const Tensor& x, const Tensor& t, Reduction r) {
        s.ignore(95, "weight");
        return huber_loss(x, t, s.number(96, "delta", 1), r);
      });
  calls["nn.functional.binary_cross_entropy_with_logits"] =
      loss([](Sample& s, const Tensor& x, const Tensor& t, Reduction r) {
        return binary_cross_entropy_with_logits(x, t,
                                                {.weight = s.tensor(2, "weight"),
                                                 .pos_weight = s.tensor(97, "pos_weight"),
                                                 .reduction = r});
      });
}

void add_losses(std::map<std::string, Call>& calls) {
  calls["nn.functional.nll_loss"] = [](Sample& s) -> TensorList {
    const Tensor x = s.tensor(0, "input"), target = s.tensor(1, "target");
    return {nll_loss(x, target,
                     {.ignore_index = s.integer(93, "ignore_index", -100),
                      .weight = s.tensor(2, "weight"),
                      .reduction = reduction_of(s)})};
  };
  calls["nn.functional.l1_loss"] =
      loss([](Sample& s, const Tensor& x, const Tensor& t, Reduction r) {
        s.ignore(95, "weight");
        return l1_loss(broadcast_like(x, t), broadcast_like(t, x), r);
      });
  calls["nn.functional.smooth_l1_loss"] =
      loss([](Sample& s, const Tensor& x, const Tensor& t, Reduction r) {
        return smooth_l1_loss(x, t, s.number(96, "beta", 1), r);
      });
  calls["nn.functional.kl_div"] = [](Sample& s) -> TensorList {
    const Tensor x = s.tensor(0, "input"), target = s.tensor(1, "target");
    const bool log_target = s.flag(94, "log_target", false);
    if (s.text(92, "reduction", "mean") == "batchmean")
      return {kl_div(x, target, {.log_target = log_target, .reduction = Reduction::sum}) /
              static_cast<double>(x.size(0))};
    return {kl_div(x, target, {.log_target = log_target, .reduction = reduction_of(s)})};
  };
  calls["nn.functional.binary_cross_entropy"] =
      loss([](Sample& s, const Tensor& x, const Tensor& t, Reduction r) {
        return binary_cross_entropy(x, t, {.weight = s.tensor(2, "weight"), .reduction = r});
      });
  calls["nn.functional.gaussian_nll_loss"] = [](Sample& s) -> TensorList {
    const Tensor x = s.tensor(0, "input"), target = s.tensor(1, "target");
    const Tensor var =
        s.is_tensor(2, "var") ? s.tensor(2, "var") : full(x.shape(), s.number(2, "var"), x.dtype());
    return {gaussian_nll_loss(broadcast_like(x, target), broadcast_like(target, x), var,
                              {.full = s.flag(3, "full", false),
                               .eps = s.number(4, "eps", 1e-6),
                               .reduction = reduction_of(s)})};
  };
  calls["nn.functional.cosine_similarity"] = [](Sample& s) -> TensorList {
    return {cosine_similarity(s.tensor(0), s.tensor(1), s.integer(2, "dim", 1),
                              s.number(3, "eps", 1e-8))};
  };
  calls["nn.functional.cosine_embedding_loss"] = [](Sample& s) -> TensorList {
    return {
        cosine_embedding_loss(s.tensor(0), s.tensor(1), s.tensor(2, "target"),
                              {.margin = s.number(3, "margin", 0), .reduction = reduction_of(s)})};
  };
}

/// What a norm gives beside y.
void add_native_norms(std::map<std::string, Call>& calls) {
  calls["native_layer_norm"] = [](Sample& s) -> TensorList {
    const Tensor x = s.tensor(0), weight = s.tensor(2, "weight"), bias = s.tensor(3, "bias");
    const Shape normalized = s.shape(1, "normalized_shape");
    const double eps = s.number(4, "eps", 1e-5);
    const Tensor y = layer_norm(x, normalized, weight, bias, {.eps = eps});
    const NormForward stages = norm_forward(layer_norm_groups(x, normalized), x, weight, bias, eps);
    Shape each = x.shape();
    for (int i = 1; i <= normalized.ndim(); ++i) each[-i] = 1;
    return {y, reshape(stages.mean, each), reshape(stages.rstd, each)};
  };
  calls["native_batch_norm"] = [](Sample& s) -> TensorList {
    const Tensor x = s.tensor(0), mean = s.tensor(3, "running_mean"),
                 var = s.tensor(4, "running_var");
    const bool training = s.flag(5, "training", false);
    s.ignore(6, "momentum");
    const BatchNormOptions options{.eps = s.number(7, "eps", 1e-5)};
    const Tensor weight = s.tensor(1, "weight"), bias = s.tensor(2, "bias");
    if (!training)
      return {batch_norm_inference(x, mean, var, weight, bias, options), zeros({0}, x.dtype()),
              zeros({0}, x.dtype())};
    const BatchNormResult r = batch_norm(x, weight, bias, options);
    return {r.y, r.mean, rsqrt(r.var + options.eps)};
  };
}

void add_resampling(std::map<std::string, Call>& calls) {
  for (const auto& [name, mode] : {std::pair{"interpolate.nearest", Interpolation::nearest},
                                   {"interpolate.bilinear", Interpolation::bilinear},
                                   {"upsample_nearest", Interpolation::nearest},
                                   {"upsample_bilinear", Interpolation::bilinear}})
    calls[std::string("nn.functional.") + name] =
        [mode = mode, name = std::string(name)](Sample& s) -> TensorList {
      InterpolateOptions o{.mode = mode};
      const std::vector<int64_t> size = s.integers(1, "size");
      if (size.size() > 2) throw Refused("volumes: images have two axes");
      if (!size.empty()) o.size = Pair(size.front(), size.back());
      if (const Json* scale = s.given(2, "scale_factor"))
        o.scale = scale->is_array() ? (*scale)[0].get<double>() : scale->get<double>();
      if (const Json* scale = s.given(2, "scale_factor");
          scale && scale->is_array() && (*scale)[0] != scale->back())
        throw Refused("a scale for each axis: give the size");
      s.ignore(3, "mode");
      if (s.flag(9, "antialias", false)) throw Refused("antialias");
      if (s.flag(9, "recompute_scale_factor", false)) {
        const Tensor given = s.tensor(0);
        const auto scaled = [&](int axis) {
          return static_cast<int64_t>(std::floor(static_cast<double>(given.size(axis)) * *o.scale));
        };
        o.size = Pair(scaled(given.ndim() > 3 ? -2 : -1), scaled(-1));
        o.scale.reset();
      }
      o.align_corners = s.flag(4, "align_corners", name == "upsample_bilinear");
      const Tensor x = s.tensor(0);
      if (x.ndim() == 5) throw Refused("volumes: images have two axes");
      return {interpolate(x, o)};
    };
}

}  // namespace

const std::map<std::string, Call>& op_calls() {
  static const std::map<std::string, Call> calls = [] {
    std::map<std::string, Call> all;
    add_elementwise(all);
    add_reductions(all);
    add_shapes(all);
    add_indices(all);
    add_products(all);
    add_norms_and_losses(all);
    add_losses(all);
    add_native_norms(all);
    add_resampling(all);
    return all;
  }();
  return calls;
}

}  // namespace gradus::samples
